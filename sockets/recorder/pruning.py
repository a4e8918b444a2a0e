"""Deletes the rows of sessions that ended long ago, in small steps; never those of live ones.

A step reads the keys of at most 500 rows, oldest first by the index of the admin's list, and
deletes them by key in a transaction of its own. Rows that another transaction holds are left to a
later step. It may be repeated, and two nodes or commands at once are harmless: each row goes once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.db import models
from django.db.models import Q

from sockets.base import metrics
from sockets.models import Node, Session
from sockets.recorder import rows

logger = logging.getLogger(__name__)

STEP: Final = 500  # rows
PAUSE: Final = 60.0  # seconds from a node's look that found no more until its next
SILENT: Final = timedelta(seconds=150)  # since its last heartbeat a node is not counted on

Place = tuple[datetime, str]
"""Where a step ended: a row's `connected_at` and id."""


def ended(before: datetime) -> models.QuerySet[Session]:
    """Return the rows of sessions that ended before then."""
    # Whatever ended before then began before then: by that there is an index.
    return Session.objects.using(rows.alias()).filter(
        connected_at__lt=before, disconnected_at__lt=before
    )


def prune(before: datetime, after: Place | None = None) -> tuple[int, Place | None]:
    """Delete one step of what ended before then.

    Returns how many rows went, and where to go on: the next step's `after`; None: no more.
    """
    chosen = ended(before)
    if after is not None:
        at, id = after
        chosen = chosen.filter(connected_at__gte=at).filter(Q(connected_at__gt=at) | Q(id__gt=id))
    oldest = chosen.order_by("connected_at", "id")
    found = list(oldest.values_list("connected_at", "id")[:STEP])
    if not found:
        return 0, None
    with rows.brief(rows.alias()):
        # Looked at again: a session that was taken for lost may be open since.
        free = ended(before).filter(id__in=[id for _, id in found])
        free = free.select_for_update(skip_locked=True).order_by()
        gone = Session.objects.using(rows.alias()).filter(id__in=free.values("id")).delete()[1]
    return gone.get(Session._meta.label, 0), found[-1] if len(found) == STEP else None


def is_first(name: str, now: datetime) -> bool:
    """Return whether no node that lives has a name before this one: that one prunes for all.

    By the heartbeats in the nodes' rows. Where clocks differ two may think so, which is harmless.
    """
    others = Node.objects.using(rows.alias()).filter(name__lt=name, stopped_at__isnull=True)
    return not others.filter(seen_at__gt=now - SILENT).exists()


class Pruner:
    """What the recorder's thread does about old rows between its batches.

    `keep`: seconds after a session's end; 0: its row is never deleted. `clock`: seconds since the
    epoch.
    """

    def __init__(self, keep: float, clock: Callable[[], float]) -> None:
        self._keep = keep
        self._clock = clock
        self._due = time.monotonic() + PAUSE
        self._after: Place | None = None
        self._failed = False

    def work(self, name: str) -> None:
        """Delete one step if it is time, for the node of this name.

        Raises nothing: a database that is away, or that allows no deleting, is asked again later,
        and the recorder's own rows do not wait for it.
        """
        if not self._keep or time.monotonic() < self._due:
            return
        try:
            self._step(name)
        except Exception as error:
            self._after = None
            rows.drop_connection()
            if not self._failed:
                logger.warning(
                    "recorder: old rows of sessions were not deleted (%s: %s); tried again",
                    type(error).__name__,
                    rows.first_line(error),
                )
            self._failed = True
        else:
            self._failed = False
        if self._after is None:
            self._due = time.monotonic() + PAUSE

    def _step(self, name: str) -> None:
        now = self._clock()
        if self._after is None and not is_first(name, rows.moment(now)):
            return
        before = rows.moment(max(0.0, now - self._keep))
        count, self._after = prune(before, self._after)
        metrics.RECORDER_PRUNED.inc(count)
