"""Sessions that an operator has ended, until their rows say so: the recorder writes a moment later.

The operator's next page must not call them live. It waits for the rows, for a bounded time, and
what is not written by then is shown as closing. That is kept in the operator's own login and not in
this process: behind a balancer another node may serve the next page.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from django.http import HttpRequest

from sockets.conf import get_conf
from sockets.models import OPEN, Session

LONGEST_WAIT: Final = 5.0
"""Seconds that a page waits at most for the rows of what it has ended."""

SHOWN: Final = 600.0
"""Seconds that an open row is called closing; by then a dead node's rows are closed too."""

MOST: Final = 500
"""Sessions that one login remembers; the oldest are forgotten."""

_KEY: Final = "gateway_closing"
_PAUSE: Final = 0.05
_CHUNK: Final = 500


def wait_until_written(ids: Collection[str]) -> None:
    """Return when the rows of these sessions have an end, or after a few of the recorder's
    intervals."""
    patience = min(LONGEST_WAIT, 1.0 + 2 * get_conf().recorder_interval)
    deadline = time.monotonic() + patience
    left = list(ids)
    while left and time.monotonic() < deadline:
        open_rows = Session.objects.filter(OPEN, pk__in=left[:_CHUNK])
        if not open_rows.exists():
            del left[:_CHUNK]
        else:
            time.sleep(_PAUSE)


def remember(request: HttpRequest, ids: Collection[str]) -> None:
    """Let the pages of this login show the open rows of these sessions as closing."""
    now = time.time()
    known = [(id, until) for id, until in _kept(request) if until > now and id not in ids]
    known += [(id, now + SHOWN) for id in ids]
    request.session[_KEY] = known[-MOST:]


def remembered(request: HttpRequest) -> list[str]:
    """Return the ids of the sessions that are still to be shown as closing."""
    now = time.time()
    return [id for id, until in _kept(request) if until > now]


def _kept(request: HttpRequest) -> list[tuple[str, float]]:
    session = getattr(request, "session", None)
    return [] if session is None else [(id, until) for id, until in session.get(_KEY, ())]
