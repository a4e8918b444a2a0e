"""The registry of nodes in Redis.

gw:nodes                     ZSET  life -> end of its lease
gw:{gw:nodes}:info           HASH  life -> JSON: name, pid, version, sessions, …
gw:{gw:nodes}:claims         ZSET  dead life -> when another node may take it on
gw:{gw:nodes}:warmup         STRING  until when nobody may be declared offline
gw:{gw:nodes}:lost           ZSET  info of a node that died -> when that was found
gw:node:<life>:users, :workers   SET  for whom the life is responsible
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import msgspec
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from sockets.cluster.registry import CLAIM_TTL, LOST_TTL, MAX_LOST, Beat
from sockets.redis import Call, Keys, Script, batches, translated
from sockets.types import Kind, NodeInfo

USERS_TTL = 30 * 24 * 3600
"""Seconds that the users of a dead life wait for a node to take them over; all may be down."""

_BEAT = Script(__package__, "registry", "beat")
_LEAVE = Script(__package__, "registry", "leave")
_CLAIM = Script(__package__, "registry", "claim")
_KEEP_CLAIM = Script(__package__, "registry", "keep_claim")
_LIVING = Script(__package__, "registry", "living")
_WARM = Script(__package__, "registry", "warm")
_NOTE_LOST = Script(__package__, "registry", "note_lost")
_LOST = Script(__package__, "registry", "lost")
_CHARGE = Script(__package__, "charge")


class NodeCalls:
    """How the scripts are called. `lease`, `warmup`: seconds."""

    def __init__(
        self,
        keys: Keys,
        *,
        lease: float,
        warmup: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.keys = keys
        self.lease = lease
        self.warmup = warmup
        self._clock = clock

    def call(self, *args: Any) -> Call:
        """Of any of them."""
        names = [self.keys.nodes(part) for part in ("", "info", "claims", "warmup", "lost")]
        return names, ["" if self._clock is None else repr(self._clock()), self.lease, *args]


class RedisNodes:
    """The registry's interface on Redis. Belongs to one event loop."""

    def __init__(self, client: Redis, calls: NodeCalls) -> None:
        self._client = client
        self._calls = calls

    async def beat(self, info: NodeInfo, *, begin: bool, silent: float) -> Beat:
        written = msgspec.json.encode(info)
        args = (info.id, written, "1" if begin else "", silent, self._calls.warmup, info.name)
        alive, warm, now = await self._run(_BEAT, *args)
        return Beat(bool(alive), float(warm), float(now))

    async def leave(self, life: str) -> None:
        left = [await self.count_users(life, kind) for kind in Kind]
        await self._run(_LEAVE, life, "1" if any(left) else "")

    async def all(self) -> list[NodeInfo]:
        found = await self._run(_LIVING)
        lives = [
            _read(info, float(end) - self._calls.lease)
            for end, info in zip(found[1::3], found[2::3], strict=True)
        ]
        return sorted(lives, key=lambda info: (info.name, info.id))

    async def warm(self) -> float:
        return float(await self._run(_WARM))

    async def claim(self, by: str = "") -> NodeInfo | None:
        found = await self._run(_CLAIM, CLAIM_TTL, by)
        if not found:
            return None
        life, info = found
        if info:
            return _read(info, 0.0)
        name = life.decode().partition(":")[0]
        return NodeInfo(life.decode(), name, 0, "", "", 0.0, "dead")

    async def keep_claim(self, life: str) -> None:
        await self._run(_KEEP_CLAIM, CLAIM_TTL, life)

    async def forget(self, life: str) -> None:
        await self._run(_LEAVE, life, "")

    async def note_lost(self, info: NodeInfo) -> None:
        await self._run(_NOTE_LOST, LOST_TTL, msgspec.json.encode(info), MAX_LOST)

    async def lost(self) -> list[NodeInfo]:
        found = await self._run(_LOST, LOST_TTL)
        return [
            replace(msgspec.json.decode(info, type=NodeInfo), seen_at=float(at))
            for info, at in zip(found[::2], found[1::2], strict=True)
        ]

    async def add_users(self, life: str, kind: Kind, users: Collection[str]) -> None:
        key = self._calls.keys.users_of(life, kind)
        for some in batches(list(users)):
            with translated(writes=True):
                await _CHARGE.run(self._client, ([key], [USERS_TTL, *some]))

    async def remove_users(self, life: str, kind: Kind, users: Collection[str]) -> None:
        for some in batches(list(users)):
            with translated(writes=True):
                await self._client.srem(  # type: ignore[misc]
                    self._calls.keys.users_of(life, kind), *some
                )

    async def users_of(self, life: str, kind: Kind, limit: int) -> list[str]:
        with translated():
            found = await self._client.srandmember(  # type: ignore[misc]
                self._calls.keys.users_of(life, kind), limit
            )
        return [user.decode() for user in found or ()]

    async def users_after(
        self, life: str, kind: Kind, place: str, count: int
    ) -> tuple[list[str], str]:
        with translated():
            cursor, found = await self._client.sscan(
                self._calls.keys.users_of(life, kind),
                int(place) if place.isdecimal() and len(place) < 20 else 0,
                count=count,
            )
        return [user.decode() for user in found], f"{cursor or ''}"

    async def count_users(self, life: str, kind: Kind) -> int:
        with translated():
            count: int = await self._client.scard(  # type: ignore[misc]
                self._calls.keys.users_of(life, kind)
            )
        return count

    async def _run(self, script: Script, *args: Any) -> Any:
        with translated(writes=True):
            return await script.run(self._client, self._calls.call(*args))


def warm_sync(client: SyncRedis, calls: NodeCalls) -> float:
    """`Nodes.warm` for threads. Raises GatewayUnavailable."""
    with translated():
        return float(_WARM.run_sync(client, calls.call()))


def _read(info: bytes, seen_at: float) -> NodeInfo:
    known = msgspec.json.decode(info, type=NodeInfo)
    # It dates its start by a clock of its own, which may be ahead.
    return replace(known, seen_at=max(seen_at, known.started_at) if seen_at else 0.0)
