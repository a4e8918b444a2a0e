"""Values of the admin's tables as people read them."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sockets.codes import ABNORMAL, LOST, CloseCode

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
CODES: Final = {
    **{int(code): code.name.lower().replace("_", " ") for code in CloseCode},
    1001: "going away",
    1005: "no code",
    ABNORMAL: "connection lost",
    1011: "internal error",
    LOST: "process died",
}


class Tone(Enum):
    """Classes of the stylesheet: the admin's policy allows no style in the page itself."""

    GOOD = "good"
    WARNING = "warning"
    QUIET = "quiet"


def badge(text: str, tone: Tone) -> SafeString:
    """Return a coloured word; the word alone says it all."""
    return format_html('<span class="gateway-badge {}">{}</span>', tone.value, text)


def duration(length: timedelta) -> str:
    """Return the two largest units: "3 min 12 s", "2 d 0 h"."""
    seconds = int(length.total_seconds())
    for (unit, size), (next_unit, next_size) in pairwise(_UNITS):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // next_size} {next_unit}"
    return f"{seconds} s"


def close_code(code: int | None) -> str | None:
    """Return the number and its name: "4503 replaced"."""
    return None if code is None else f"{code} {CODES.get(code, '')}".strip()


def shortened(text: str, limit: int) -> str | SafeString:
    """Return at most `limit` characters; the rest is shown when the pointer rests on it."""
    if len(text) <= limit:
        return text
    return format_html('<span title="{}">{}…</span>', text, text[: limit - 1])


def two_lines(first: str, second: str) -> SafeString:
    """Return a value, and below it in small what belongs to it, if there is something."""
    if not second:
        return format_html("{}", first)
    return format_html('{}<span class="gateway-below">{}</span>', first, second)


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """The rows are history: nobody writes it by hand, whatever permissions they hold."""

    class Media:
        css = {"all": ["sockets/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
