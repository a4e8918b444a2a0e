"""Values of the admin's tables as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext_lazy

from sockets.codes import ABNORMAL, LOST, CloseCode

_UNITS: Final = (
    (pgettext_lazy("gateway", "%d d"), 86_400),
    (pgettext_lazy("gateway", "%d h"), 3_600),
    (pgettext_lazy("gateway", "%d min"), 60),
    (pgettext_lazy("gateway", "%d s"), 1),
)
CODES: Final = {
    CloseCode.NORMAL: pgettext_lazy("gateway", "normal"),
    1001: pgettext_lazy("gateway", "going away"),
    1005: pgettext_lazy("gateway", "no code"),
    ABNORMAL: pgettext_lazy("gateway", "connection lost"),
    CloseCode.MESSAGE_TOO_BIG: pgettext_lazy("gateway", "message too big"),
    1011: pgettext_lazy("gateway", "internal error"),
    CloseCode.SHUTTING_DOWN: pgettext_lazy("gateway", "shutting down"),
    CloseCode.TRY_AGAIN_LATER: pgettext_lazy("gateway", "try again later"),
    CloseCode.DRAINING: pgettext_lazy("gateway", "draining"),
    CloseCode.NO_PONG: pgettext_lazy("gateway", "no pong"),
    CloseCode.SLOW_CONSUMER: pgettext_lazy("gateway", "slow consumer"),
    CloseCode.TOKEN_EXPIRED: pgettext_lazy("gateway", "token expired"),
    CloseCode.INTERNAL_ERROR: pgettext_lazy("gateway", "internal error"),
    LOST: pgettext_lazy("gateway", "process died"),
    CloseCode.BAD_REQUEST: pgettext_lazy("gateway", "bad request"),
    CloseCode.UNAUTHORIZED: pgettext_lazy("gateway", "unauthorized"),
    CloseCode.FORBIDDEN: pgettext_lazy("gateway", "forbidden"),
    CloseCode.REPLACED: pgettext_lazy("gateway", "replaced"),
    CloseCode.DISCONNECTED: pgettext_lazy("gateway", "disconnected"),
    CloseCode.SESSION_LIMIT: pgettext_lazy("gateway", "session limit"),
    CloseCode.RATE_LIMIT: pgettext_lazy("gateway", "rate limit"),
    CloseCode.BLOCKED: pgettext_lazy("gateway", "blocked"),
    CloseCode.REVOKED: pgettext_lazy("gateway", "revoked"),
}
"""What a close code means, in the reader's language."""


MOMENT: Final = "Y-m-d H:i:s T"
"""The same whatever formats a project has: operators compare moments with logs."""


class Tone(Enum):
    """Classes of the stylesheet: the admin's policy allows no style in the page itself."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    QUIET = "quiet"


def badge(text: str | Promise, tone: Tone) -> SafeString:
    """Return a coloured word; the word alone says it all."""
    return format_html('<span class="gateway-badge {}">{}</span>', tone.value, text)


def moment_shown(moment: datetime | None) -> str:
    """Return a moment to the second, with its date and zone; "-" where there is none."""
    if moment is None:
        return "-"
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return str(date_format(local, MOMENT))


def duration(length: timedelta) -> str:
    """Return the two largest units: "3 min 12 s", "2 d 0 h"."""
    seconds = int(length.total_seconds())
    for (unit, size), (next_unit, next_size) in pairwise(_UNITS):
        if seconds >= size:
            return f"{unit % (seconds // size)} {next_unit % (seconds % size // next_size)}"
    return str(_UNITS[-1][0] % seconds)


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
