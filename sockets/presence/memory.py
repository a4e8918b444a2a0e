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
        # (kind, user) -> client id -> (info, end of its lease): a client id has one live session,
        # so registering and renewing cost the same however many sessions the user has.
        self._leases: dict[tuple[Kind, str], dict[str, tuple[SessionInfo, float]]] = {}

    async def register(self, info: SessionInfo) -> tuple[SessionInfo, ...]:
        rival = self._rival(info)
        self._write(info)
        return () if rival is None else (rival,)

    async def renew(self, infos: Sequence[SessionInfo]) -> list[str]:
        fenced = []
        for info in infos:
            if self._rival(info) is not None:
                fenced.append(info.id)
            else:
                self._write(info)
        return fenced

    async def release(self, info: SessionInfo) -> None:
        leases = self._leases.get(_key(info), {})
        if info.client_id in leases and leases[info.client_id][0].id == info.id:
            del leases[info.client_id]
        if not leases:
            self._leases.pop(_key(info), None)

    async def is_online(self, user: str) -> bool:
        return bool(self._live(Kind.CLIENT, user))

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        infos = [info for info, _ in self._live(Kind.CLIENT, user).values()]
        return sorted(infos, key=lambda info: (info.connected_at, info.id))

    async def online(self, users: Iterable[str]) -> dict[str, bool]:
        return {user: await self.is_online(user) for user in users}

    def _rival(self, info: SessionInfo) -> SessionInfo | None:
        """The other live session of the same client id, if there is one."""
        other, end = self._leases.get(_key(info), {}).get(info.client_id, (info, 0.0))
        return other if other.id != info.id and end > self._clock() else None

    def _write(self, info: SessionInfo) -> None:
        lease = (info, self._clock() + self._lease)
        self._leases.setdefault(_key(info), {})[info.client_id] = lease

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
