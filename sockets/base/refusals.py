"""Who got no welcome in the last hour, and why: for people who ask "why can Kim not connect?".

Strangers decide how often something is noted. So the same refusal again is one line that counts,
one address has a part of the lines, and what has no place any more is counted as forgotten.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sockets.base.client_address import neighbourhood
from sockets.types import Kind

MOST: Final = 1_000
"""Lines of one process ..."""

SHARE: Final = 100
"""... and those of one address among them."""

AGE: Final = 3600.0
"""Seconds that a line is kept after the last refusal that it counts."""

_CUT: Final = 256
"""Characters of what a stranger chose."""

_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Line:
    """What one line is about. `code`: a close code, a status of HTTP, or 0: cut."""

    kind: Kind
    code: int
    reason: str
    address: str
    user: str
    client_id: str
    agent: str
    origin: str


@dataclass(slots=True)
class Times:
    """When it was: `since` the first time, `at` the last, `count` times."""

    since: float
    at: float
    count: int = 1


class Refusals:
    """The newest refusals of one process. Belongs to its event loop. `clock`: seconds since the
    epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lines: OrderedDict[Line, Times] = OrderedDict()  # the last noted comes last
        self._by_address: dict[str, OrderedDict[Line, None]] = {}
        self._forgotten: Counter[int] = Counter()  # by minute

    def note(
        self,
        kind: Kind,
        code: int,
        reason: str,
        *,
        address: str = "",
        user: str = "",
        claimed: str = "",
        client_id: str = "",
        agent: str = "",
        origin: str = "",
    ) -> None:
        """Note that a connection was refused. `user`: whose it was; `claimed`: whose it said that
        it was, which counts where nothing better is known."""
        who = (user or claimed)[:_CUT]
        line = Line(kind, code, reason[:_CUT], address, who, client_id, agent[:_CUT], origin[:_CUT])
        now = self._clock()
        times = self._lines.get(line)
        if times is None:
            self._lines[line] = Times(now, now)
            self._make_space(line)
        else:
            times.at = now
            times.count += 1
            self._lines.move_to_end(line)
        own = self._by_address.setdefault(neighbourhood(address), OrderedDict())
        own[line] = None
        own.move_to_end(line)

    def read(self) -> tuple[list[tuple[Line, Times]], int]:
        """Return the lines, the newest first, and how many refusals of the last hour were
        forgotten."""
        now = self._clock()
        self._drop_old(now)
        first = int((now - AGE) // _MINUTE)
        for minute in [minute for minute in self._forgotten if minute < first]:
            del self._forgotten[minute]
        return list(reversed(self._lines.items())), self._forgotten.total()

    def forget(self, user: str) -> None:
        """Remove the lines of a user."""
        for line in [line for line in self._lines if line.user and line.user == user[:_CUT]]:
            self._remove(line)

    def _make_space(self, new: Line) -> None:
        own = self._by_address.get(neighbourhood(new.address), ())
        if len(own) >= SHARE:
            self._forget(next(iter(own)))
        elif len(self._lines) > MOST:
            self._forget(next(iter(self._lines)))

    def _drop_old(self, now: float) -> None:
        while self._lines:
            line, times = next(iter(self._lines.items()))
            if times.at > now - AGE:
                return
            self._remove(line)

    def _forget(self, line: Line) -> None:
        times = self._remove(line)
        self._forgotten[int(times.at // _MINUTE)] += times.count
        while len(self._forgotten) > AGE // _MINUTE + 2:
            del self._forgotten[min(self._forgotten)]

    def _remove(self, line: Line) -> Times:
        times = self._lines.pop(line)
        host = neighbourhood(line.address)
        own = self._by_address[host]
        own.pop(line, None)
        if not own:
            del self._by_address[host]
        return times


RING: Final = Refusals()
note = RING.note
