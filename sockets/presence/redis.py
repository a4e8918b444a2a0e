"""Presence in Redis, as PROTOCOL section 7 documents it for services in any language.

`PresenceCalls` knows the scripts and their answers; the two classes below carry them out, one on an
event loop, one for threads. A call that was cut off is repeated: a registration whose first answer
was lost replaces nobody any more, and the renewal of the session that it had replaced is fenced.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from sockets.redis import Call, Keys, Script, batches, translated
from sockets.types import Kind, Position, SessionInfo

logger = logging.getLogger(__name__)

_REGISTER = Script(__package__, "user", "register")
_RENEW = Script(__package__, "user", "renew")
_RELEASE = Script(__package__, "user", "release")
_SESSIONS = Script(__package__, "user", "sessions")
_COUNT = Script(__package__, "user", "count")


class _Info(msgspec.Struct, omit_defaults=True):
    """The JSON of one session; its id is the field's name in the hash, its user in the key's."""

    client_id: str
    node: str
    connected_at: float
    address: str = ""
    agent: str = ""
    acked: Position | None = None
    acked_at: float | None = None


class PresenceCalls:
    """`lease`: seconds. `clock`: for tests; None: Redis' own."""

    def __init__(
        self, keys: Keys, *, lease: float = 0.0, clock: Callable[[], float] | None = None
    ) -> None:
        self._keys = keys
        self._lease = lease
        self._clock = clock

    def register(self, info: SessionInfo) -> Call:
        """A call of register.lua."""
        return self._call(info.kind, info.user, info.id, info.client_id, _written(info))

    def renew(self, infos: Sequence[SessionInfo]) -> list[Call]:
        """Calls of renew.lua, one for each user."""
        grouped: dict[tuple[Kind, str], list[str | bytes]] = defaultdict(list)
        for info in infos:
            grouped[info.kind, info.user] += (info.id, info.client_id, _written(info))
        return [self._call(kind, user, *args) for (kind, user), args in grouped.items()]

    def release(self, info: SessionInfo) -> Call:
        """A call of release.lua."""
        return self._call(info.kind, info.user, info.id)

    def user(self, user: str) -> Call:
        """A call of sessions.lua or count.lua."""
        return self._call(Kind.CLIENT, user)

    @staticmethod
    def sessions(kind: Kind, user: str, answer: list[bytes]) -> list[SessionInfo]:
        """What sessions.lua answered, or register.lua; oldest first."""
        pairs = zip(answer[::2], answer[1::2], strict=True)
        found = [_read(kind, user, session.decode(), info) for session, info in pairs]
        return sorted(filter(None, found), key=lambda info: (info.connected_at, info.id))

    def _call(self, kind: Kind, user: str, *args: str | bytes) -> Call:
        name = self._keys.user if kind is Kind.CLIENT else self._keys.worker
        now = "" if self._clock is None else repr(self._clock())
        keys = [name(user, part) for part in ("sessions", "info", "clients")]
        return keys, [now, self._lease, *args]


class RedisPresence:
    """The presence interface on Redis. Belongs to one event loop."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        lease: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._calls = PresenceCalls(keys, lease=lease, clock=clock)

    async def register(self, info: SessionInfo) -> tuple[SessionInfo, ...]:
        with translated(writes=True):
            answer = await _REGISTER.run(self._client, self._calls.register(info))
        return tuple(self._calls.sessions(info.kind, info.user, answer))

    async def renew(self, infos: Sequence[SessionInfo]) -> list[str]:
        fenced: list[str] = []
        for some in batches(self._calls.renew(infos)):
            with translated(writes=True):
                answers = await _RENEW.run_many(self._client, some)
            fenced += [session.decode() for answer in answers for session in answer]
        return fenced

    async def release(self, info: SessionInfo) -> None:
        with translated(writes=True):
            await _RELEASE.run(self._client, self._calls.release(info))

    async def is_online(self, user: str) -> bool:
        return (await self.online([user]))[user]

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        with translated():
            answer = await _SESSIONS.run(self._client, self._calls.user(user))
        return self._calls.sessions(Kind.CLIENT, user, answer)

    async def online(self, users: Iterable[str]) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for some in batches(list(dict.fromkeys(users))):
            with translated():
                calls = [self._calls.user(user) for user in some]
                counts = await _COUNT.run_many(self._client, calls)
            found |= {user: count > 0 for user, count in zip(some, counts, strict=True)}
        return found


class SyncRedisPresence:
    """The part of the interface that Django code needs, for threads; forks are safe too."""

    def __init__(
        self, client: SyncRedis, keys: Keys, *, clock: Callable[[], float] | None = None
    ) -> None:
        self._client = client
        self._calls = PresenceCalls(keys, clock=clock)

    def is_online(self, user: str) -> bool:
        """As of RedisPresence."""
        return self.counts([user])[0] > 0

    def sessions_of(self, user: str) -> list[SessionInfo]:
        """As of RedisPresence."""
        with translated():
            answer = _SESSIONS.run_sync(self._client, self._calls.user(user))
        return self._calls.sessions(Kind.CLIENT, user, answer)

    def counts(self, users: Sequence[str]) -> list[int]:
        """How many live client sessions each of the users has."""
        return list(self._counted(users))

    def _counted(self, users: Sequence[str]) -> Iterator[int]:
        for some in batches(users):
            with translated():
                calls = [self._calls.user(user) for user in some]
                yield from _COUNT.run_many_sync(self._client, calls)


def _written(info: SessionInfo) -> bytes:
    return msgspec.json.encode(
        _Info(
            info.client_id,
            info.node,
            info.connected_at,
            info.address,
            info.agent,
            info.acked,
            info.acked_at,
        )
    )


def _read(kind: Kind, user: str, session: str, info: bytes) -> SessionInfo | None:
    """None for what somebody else wrote there."""
    try:
        known = msgspec.json.decode(info, type=_Info)
    except msgspec.DecodeError as error:
        logger.warning("the info of session %s cannot be read: %s", session, error)
        return None
    return SessionInfo(
        id=session,
        kind=kind,
        user=user,
        client_id=known.client_id,
        node=known.node,
        connected_at=known.connected_at,
        address=known.address,
        agent=known.agent,
        acked=known.acked,
        acked_at=known.acked_at,
    )
