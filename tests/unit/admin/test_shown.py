"""Values as people read them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from sockets.admin.shown import ReadOnly, Tone, badge, close_code, duration, shortened


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (192, "3 min 12 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_061, "1 d 1 h"),
        (400 * 86_400, "400 d 0 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (4503, "4503 replaced"),
        (1013, "1013 try again later"),
        (1006, "1006 connection lost"),
        (4099, "4099 process died"),
        (3777, "3777"),
        (None, None),
    ],
)
def test_close_code(code: int | None, text: str | None) -> None:
    assert close_code(code) == text


def test_a_badge_is_a_word_and_escapes_it() -> None:
    assert ">live</span>" in badge("live", Tone.GOOD)
    assert "&lt;b&gt;" in badge("<b>", Tone.QUIET)


@pytest.mark.parametrize("tone", list(Tone))
def test_a_badge_has_its_colour_from_the_stylesheet(tone: Tone) -> None:
    shown = badge("x", tone)
    assert "style=" not in shown
    (name,) = re.findall('class="gateway-badge ([a-z]+)"', shown)
    (path,) = ReadOnly.Media.css["all"]
    file = finders.find(path)
    assert file is not None
    assert f".gateway-badge.{name} {{" in Path(file).read_text()


def test_long_texts_are_cut_and_escaped() -> None:
    assert shortened("short", 5) == "short"
    assert shortened("<" * 6, 4) == f'<span title="{"&lt;" * 6}">{"&lt;" * 3}…</span>'
