"""What workers say to visitors, without Django."""

from __future__ import annotations

import subprocess
import sys
from contextvars import copy_context

import pytest

from examples.image_converter import spoken
from tests.support.gateway import ROOT

TEXT = "This image is damaged (%(problem)s)."


def said(language: str) -> str:
    def say() -> str:
        spoken.language.set(language)
        return spoken.say(TEXT, problem="50 %")

    return copy_context().run(say)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ko", "손상된 이미지입니다(50 %)."),
        ("ko-kr", "This image is damaged (50 %)."),
        ("en", "This image is damaged (50 %)."),
        ("xx", "This image is damaged (50 %)."),
        ("", "This image is damaged (50 %)."),
        ("../ko", "This image is damaged (50 %)."),
        ("\0", "This image is damaged (50 %)."),
    ],
)
def test_in_the_language_asked_for_else_in_english(language: str, text: str) -> None:
    assert said(language) == text
    assert spoken.language.get() == "en", "only there"


def test_a_worker_knows_no_django() -> None:
    code = "import examples.image_converter.worker, sys; print('django' in sys.modules)"
    command, path = [sys.executable, "-c", code], {"PYTHONPATH": f"{ROOT}/clients/python"}
    done = subprocess.run(command, cwd=ROOT, env=path, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
