"""Presence in this process, with leases like any other backend's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sockets.types import Kind, SessionInfo


class MemoryPresence:
    """The presence interface on dictionaries. Belongs to one event loop.

    `lease`: seconds that a session stays present without renewal.
    """

    def __init__(self, *, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        # (kind, user) -> session id -> (info, end of its lease)
        self._leases: dict[tuple[Kind, str], dict[str, tuple[SessionInfo, float]]] = {}

    async def register(self, info: SessionInfo) -> tuple[SessionInfo, ...]:
        leases = self._live(info.kind, info.user)
        replaced = tuple(old for old, _ in leases.values() if _same_client(old, info))
        for old in replaced:
            del leases[old.id]
        self._write(info)
        return replaced

    async def renew(self, infos: Sequence[SessionInfo]) -> list[str]:
        fenced = []
        for info in infos:
            leases = self._live(info.kind, info.user)
            if any(_same_client(other, info) for other, _ in leases.values()):
                fenced.append(info.id)
            else:
                self._write(info)
        return fenced

    async def release(self, info: SessionInfo) -> None:
        leases = self._leases.get(_key(info), {})
        leases.pop(info.id, None)
        if not leases:
            self._leases.pop(_key(info), None)

    async def is_online(self, user: str) -> bool:
        return bool(self._live(Kind.CLIENT, user))

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        infos = [info for info, _ in self._live(Kind.CLIENT, user).values()]
        return sorted(infos, key=lambda info: (info.connected_at, info.id))

    async def online(self, users: Iterable[str]) -> dict[str, bool]:
        return {user: await self.is_online(user) for user in users}

    def _write(self, info: SessionInfo) -> None:
        self._leases.setdefault(_key(info), {})[info.id] = (info, self._clock() + self._lease)

    def _live(self, kind: Kind, user: str) -> dict[str, tuple[SessionInfo, float]]:
        """The leases that still run; the others are dropped on the way."""
        leases = self._leases.get((kind, user))
        if leases is None:
            return {}
        now = self._clock()
        for id in [id for id, (_, end) in leases.items() if end <= now]:
            del leases[id]
        if not leases:
            del self._leases[kind, user]
        return leases


def _key(info: SessionInfo) -> tuple[Kind, str]:
    return info.kind, info.user


def _same_client(one: SessionInfo, other: SessionInfo) -> bool:
    return one.client_id == other.client_id and one.id != other.id
