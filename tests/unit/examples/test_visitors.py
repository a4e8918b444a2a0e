"""Names, and which requests act in them; the rest is in test_views.py."""

from __future__ import annotations

import re

import pytest
from django.test import RequestFactory

from examples.image_converter.visitors import _is_own_page, display_name, new_visitor


def test_a_visitor_has_a_name_for_people_and_an_id_nobody_guesses() -> None:
    visitor = new_visitor()
    assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9a-f]{16}", visitor)
    assert display_name("brave-otter-0123456789abcdef") == "Brave Otter"
    assert new_visitor() != visitor


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("http://testserver", True),
        ("https://testserver", True),
        ("http://testserver:81", False),
        ("http://evil.example", False),
        ("http://testserver.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_whose_page_it_is(origin: str, own: bool) -> None:
    assert _is_own_page(RequestFactory().post("/", headers={"origin": origin})) is own
