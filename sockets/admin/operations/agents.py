"""User agents in words: "Chrome on Windows".

Enough for a glance at a table; the whole text stands beside it. What is not known here is shown as
it was sent, cut.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import pgettext

_PROGRAMS: Final = (
    # The first that is found: most of them claim to be those further down, too.
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/")),
    ("Opera", re.compile(r"\bOPR/|\bOpera\b")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Whale", re.compile(r"\bWhale/")),
    ("KakaoTalk", re.compile(r"\bKAKAOTALK\b")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("Headless Chrome", re.compile(r"\bHeadlessChrome/")),
    ("Chrome", re.compile(r"\b(?:Chrome|CriOS|Chromium)/")),
    ("Safari", re.compile(r"\bSafari/")),
    ("Dart", re.compile(r"^Dart/")),
    ("okhttp", re.compile(r"^okhttp/")),
    ("Python websockets", re.compile(r"\bPython/\S+ websockets/")),
    ("aiohttp", re.compile(r"\baiohttp/")),
    ("Node.js", re.compile(r"^(?:node|undici)\b", re.IGNORECASE)),
    ("Go", re.compile(r"^Go-http-client/")),
    ("curl", re.compile(r"^curl/")),
)
_SYSTEMS: Final = (
    ("Windows", re.compile(r"\bWindows\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("iPhone", re.compile(r"\biPhone\b")),
    ("iPad", re.compile(r"\biPad\b")),
    ("macOS", re.compile(r"\bMac OS X\b|\bMacintosh\b|\bmacOS\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Linux", re.compile(r"\bLinux\b|\bX11\b")),
)


def in_words(agent: str) -> str:
    """Return the program and its system, as far as they are known; "" where neither is."""
    program, system = _first(_PROGRAMS, agent), _first(_SYSTEMS, agent)
    if program and system:
        text = pgettext("gateway", "%(program)s on %(system)s")
        return text % {"program": program, "system": system}
    return program or system


def _first(known: tuple[tuple[str, re.Pattern[str]], ...], agent: str) -> str:
    return next((name for name, pattern in known if pattern.search(agent)), "")
