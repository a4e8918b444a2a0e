"""The pictures of the docs are of pages that there are; `scripts/pictures` takes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

from tests.support.invented_shop import PAGES, USER, answers
from tests.unit.admin.operations.conftest import ROOT
from tests.unit.admin.operations.values import FixedSource

DOCS = Path(__file__).parents[4] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_what_was_invented(operator: Client, fixed: FixedSource, name: str) -> None:
    fixed.answers |= answers()
    text = operator.get(ROOT + PAGES[name]).content.decode()
    assert "gateway-problem" not in text
    assert (USER in text) is (name != "overview")


@pytest.mark.parametrize("name", PAGES)
def test_the_picture_is_small_and_shown(name: str) -> None:
    picture = DOCS / "images" / f"admin-{name}.png"
    assert picture.stat().st_size < 90_000
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG") and int.from_bytes(head[16:20]) == 1200, "pixels wide"
    shown = "".join((DOCS / doc).read_text() for doc in ("admin.md", "why-did-it-not-arrive.md"))
    assert re.search(rf"!\[[^\]]{{20,}}\]\(images/{picture.name}\)", shown)
