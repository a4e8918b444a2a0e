"""Values of the reports in the reader's words: states, codes, sizes, times."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.operations.parts import Cell, tag, visible
from sockets.admin.shown import CODES, Tone, moment_shown
from sockets.recorder.rows import moment
from sockets.reports import Health
from sockets.types import Kind, NodeInfo, PresenceState, TaskState

Word = tuple[Promise, Tone]

HEALTH: Final[dict[Health, Word]] = {
    Health.HEALTHY: (pgettext_lazy("gateway", "healthy"), Tone.GOOD),
    Health.LAGGING: (pgettext_lazy("gateway", "lagging"), Tone.WARNING),
    Health.SLOW: (pgettext_lazy("gateway", "slow"), Tone.BAD),
    Health.IN_GRACE: (pgettext_lazy("gateway", "in grace"), Tone.WARNING),
    Health.UNKNOWN: (pgettext_lazy("gateway", "unknown"), Tone.QUIET),
}
PRESENCE: Final[dict[PresenceState, Word]] = {
    PresenceState.CONNECTED: (pgettext_lazy("gateway", "connected"), Tone.GOOD),
    PresenceState.IN_GRACE: (pgettext_lazy("gateway", "in grace"), Tone.WARNING),
    PresenceState.OFFLINE: (pgettext_lazy("gateway", "offline"), Tone.QUIET),
    PresenceState.UNKNOWN: (pgettext_lazy("gateway", "unknown"), Tone.QUIET),
}
TASKS: Final[dict[TaskState, Word]] = {
    TaskState.OFFERED: (pgettext_lazy("gateway", "offered"), Tone.QUIET),
    TaskState.RUNNING: (pgettext_lazy("gateway", "running"), Tone.GOOD),
    TaskState.DONE: (pgettext_lazy("gateway", "done"), Tone.GOOD),
    TaskState.FAILED: (pgettext_lazy("gateway", "failed"), Tone.BAD),
    TaskState.RELEASED: (pgettext_lazy("gateway", "handed back"), Tone.WARNING),
    TaskState.LOST: (pgettext_lazy("gateway", "lost"), Tone.BAD),
    TaskState.CANCELLED: (pgettext_lazy("gateway", "cancelled"), Tone.QUIET),
}
LIVE: Final[Word] = (pgettext_lazy("gateway", "live"), Tone.GOOD)
ENDED: Final[Word] = (pgettext_lazy("gateway", "ended"), Tone.QUIET)
KINDS: Final = {
    Kind.CLIENT: pgettext_lazy("gateway", "client"),
    Kind.WORKER: pgettext_lazy("gateway", "worker"),
}


def in_words(word: Word, **more: str) -> Cell:
    """Return the badge of a state."""
    text, tone = word
    return tag(text, tone, **more)


def node_state(node: NodeInfo, *, lost: bool, answered: bool, as_of: float | None = None) -> Cell:
    """Return a node's state; of one that is not ready, why that is. `as_of`: it could not be asked,
    and the rest was so then."""
    if lost:
        return tag(pgettext("gateway", "lost"), Tone.BAD)
    if as_of:
        return tag(pgettext("gateway", "not asked"), Tone.WARNING, below=as_of_text(as_of))
    if not answered:
        return tag(pgettext("gateway", "silent"), Tone.WARNING)
    if node.state == "ready":
        return tag(pgettext("gateway", "ready"), Tone.GOOD)
    if node.state == "draining":
        return tag(pgettext("gateway", "draining"), Tone.WARNING)
    return tag(visible(node.state)[:80], Tone.WARNING)


def closed_by(code: int) -> Cell:
    """Return a code in words, with its number below. 0: cut; below 1000: a status of HTTP."""
    if code == 0:
        return Cell(pgettext("gateway", "cut"))
    if code < 1000:
        return Cell(f"HTTP {code}")
    return Cell(str(CODES.get(code, code)), below=str(code))


def number(value: float) -> str:
    """Return a whole number with its thousands apart."""
    return str(number_format(round(value), use_l10n=True, force_grouping=True))


def size(count: int) -> str:
    """Return bytes in the largest unit that keeps two digits."""
    if count < 10_000:
        return f"{number(count)} B"
    if count < 10_000_000:
        return f"{number(count / 1_000)} kB"
    return f"{number(count / 1_000_000)} MB"


def milliseconds(seconds: float | None) -> str:
    """Return a time span; "" where there is none."""
    if seconds is None:
        return ""
    return f"{seconds * 1_000:.1f} ms" if seconds < 0.1 else f"{number(seconds * 1_000)} ms"


def at(seconds: float | None) -> str:
    """Return a moment to the second, with its date and zone; "" where there is none."""
    if seconds is None:
        return ""
    try:
        return moment_shown(moment(seconds))
    except (ValueError, OverflowError):  # the `exp` of a token in milliseconds, say
        return pgettext("gateway", "no date: %(seconds)s") % {"seconds": f"{seconds:.15g}"}


def as_of_text(seconds: float) -> str:
    """Return of which moment something is."""
    return pgettext("gateway", "as of %(time)s") % {"time": at(seconds)}


def zone() -> str:
    """Return the name of the zone in which moments are written: "Asia/Seoul"."""
    if settings.USE_TZ:
        return timezone.get_current_timezone_name()
    return timezone.get_default_timezone_name()


def clock(seconds: float) -> str:
    """Return the time of a moment to the millisecond."""
    try:
        local = _local(seconds)
    except (ValueError, OverflowError):
        return at(seconds)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def _local(seconds: float) -> datetime:
    found = moment(seconds)
    return timezone.localtime(found) if timezone.is_aware(found) else found


def since(seconds: float) -> Cell:
    """Return how long ago a moment is; it stands behind that."""
    return Cell(since=seconds, title=at(seconds))
