"""Which nodes were silent just now: nobody waits for one of them again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

SILENT_FOR: Final = 5.0
"""Seconds for which a node that did not answer is called silent without being asked again."""


class Silence:
    """Belongs to one event loop. Nodes are known by their lives: one that has begun anew is another
    one. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def worth_asking(self, lives: Iterable[str], patience: float) -> set[str]:
        """Return those of these that may answer. One whose silence is over is among them for one
        question alone, until that has an answer or has waited for its `patience`."""
        now = self._clock()
        able = {life for life in lives if self._until.get(life, now) <= now}
        for life in able & self._until.keys():
            self._until[life] = now + patience
        return able

    def heard(self, answered: Iterable[str], silent: Collection[str]) -> None:
        """Note who has answered, and who was waited for in vain."""
        now = self._clock()
        for life in answered:
            self._until.pop(life, None)
        for life in [life for life, until in self._until.items() if until + SILENT_FOR <= now]:
            del self._until[life]  # nobody has asked it since: it may be gone
        self._until |= dict.fromkeys(silent, now + SILENT_FOR)
