"""The registry of a single process: one node, which nobody outlives."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from dataclasses import replace

from sockets.base.clock import steady_time
from sockets.cluster.registry import Beat
from sockets.types import Kind, NodeInfo


class MemoryNodes:
    """The registry's interface for one node. Belongs to one event loop."""

    def __init__(self, *, clock: Callable[[], float] = steady_time) -> None:
        self._clock = clock
        self._lives: dict[str, NodeInfo] = {}
        self._users: set[tuple[Kind, str]] = set()

    async def beat(self, info: NodeInfo, *, begin: bool, silent: float) -> Beat:
        now = self._clock()
        self._lives[info.id] = replace(info, seen_at=now)
        return Beat(True, now=now)

    async def leave(self, life: str) -> None:
        self._lives.pop(life, None)

    async def all(self) -> list[NodeInfo]:
        return sorted(self._lives.values(), key=lambda info: info.name)

    async def warm(self) -> float:
        return 0.0

    async def claim(self, by: str = "") -> NodeInfo | None:
        return None

    async def keep_claim(self, life: str) -> None:
        pass

    async def forget(self, life: str) -> None:
        pass

    async def note_lost(self, info: NodeInfo) -> None:
        pass  # whoever could ask has died with it

    async def lost(self) -> list[NodeInfo]:
        return []

    async def add_users(self, life: str, kind: Kind, users: Collection[str]) -> None:
        self._users.update((kind, user) for user in users)

    async def remove_users(self, life: str, kind: Kind, users: Collection[str]) -> None:
        self._users.difference_update((kind, user) for user in users)

    async def users_of(self, life: str, kind: Kind, limit: int) -> list[str]:
        return [user for of, user in self._users if of is kind][:limit]

    async def users_after(
        self, life: str, kind: Kind, place: str, count: int
    ) -> tuple[list[str], str]:
        after = (user for of, user in self._users if of is kind and user > place)
        found = heapq.nsmallest(count, after)
        return found, found[-1] if len(found) == count else ""

    async def count_users(self, life: str, kind: Kind) -> int:
        return sum(of is kind for of, _ in self._users)
