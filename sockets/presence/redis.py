"""Presence in Redis, as redis-keys.md section 1 documents it for services in any language.

`PresenceCalls` (scripts.py) knows the scripts and their answers; the two classes below carry them
out, one on an event loop, one for threads. A call that was cut off is repeated: a registration
whose first answer was lost replaces nobody any more, and the renewal of the session that it had
replaced is fenced.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from math import inf
from typing import Any, NoReturn

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sockets.exceptions import GatewayUnavailable
from sockets.presence.base import Effects, Erased, PartlyRenewed, Registered
from sockets.presence.doubt import Doubt
from sockets.presence.scripts import (
    ANNOUNCED,
    BLOCK,
    COUNT,
    END,
    ERASE,
    EXTEND,
    LOOK,
    NOW,
    REGISTER,
    RELEASE,
    RENEW,
    REVOKE,
    SETTLE,
    PresenceCalls,
    join,
)
from sockets.redis import AT_ONCE, Call, batches, is_cluster, is_of_its_keys, translated
from sockets.types import (
    Kind,
    PresenceAnswer,
    PresenceChange,
    PresenceState,
    SessionInfo,
    UserPresence,
)

logger = logging.getLogger(__name__)

_Grouped = dict[tuple[Kind, str], list[SessionInfo]]


class RedisPresence:
    """The presence interface on Redis. Belongs to one event loop.

    `warm`: seconds for which nobody is declared offline, asked where it matters.
    """

    def __init__(
        self,
        client: Redis,
        calls: PresenceCalls,
        *,
        warm: Callable[[], Awaitable[float]],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._calls = calls
        self._warm = warm
        self._steady = steady
        self._doubt: Doubt | None = None

    def believe(self, doubt: Doubt) -> None:
        self._doubt = doubt

    async def register(self, info: SessionInfo, by: str = "") -> Registered:
        with translated(writes=True):
            answer = await REGISTER.run(self._client, self._calls.register(info, by))
        return self._calls.registered(info, answer)

    async def renew(self, infos: Sequence[SessionInfo], by: str = "") -> Effects:
        grouped: _Grouped = {}
        for info in infos:
            grouped.setdefault((info.kind, info.user), []).append(info)
        if not is_cluster(self._client):
            grouped = await self._extend(grouped)
        found, failed = [], None
        for some in batches(list(grouped.items())):
            calls = [self._calls.renew(kind, user, of, by) for (kind, user), of in some]
            answers = await RENEW.run_each(self._client, calls)
            for ((kind, user), _), answer in zip(some, answers, strict=True):
                if is_of_its_keys(answer):
                    logger.error("the lease of user %r cannot be renewed: %s", user, answer)
                elif isinstance(answer, Exception):
                    failed = failed or answer
                else:
                    found.append(self._calls.renewed(kind, user, answer))
        if failed is not None:
            self._raise_partly(failed, join(found))
        return join(found)

    async def _extend(self, grouped: _Grouped) -> _Grouped:
        """Renew those who are as they were; returns the others."""
        clients = [(user, infos) for (kind, user), infos in grouped.items() if kind is Kind.CLIENT]
        left = {key: infos for key, infos in grouped.items() if key[0] is not Kind.CLIENT}
        for start in range(0, len(clients), AT_ONCE):
            some = clients[start : start + AT_ONCE]
            changed: Iterable[int]
            with translated(writes=True):
                try:
                    changed = await EXTEND.run(self._client, self._calls.extend(some))
                except ResponseError:
                    changed = range(len(some))  # whatever the keys of one are stops no other
            for place in changed:
                user, infos = some[place]
                left[Kind.CLIENT, user] = infos
        return left

    def _raise_partly(self, failed: Exception, effects: Effects) -> NoReturn:
        """Where there are several servers, the others go on."""
        try:
            with translated(writes=True):
                raise failed
        except GatewayUnavailable as error:
            if is_cluster(self._client):
                raise PartlyRenewed(str(error), effects) from error
            raise

    async def release(self, info: SessionInfo, by: str = "", *, online: bool = False) -> Effects:
        with translated(writes=True):
            answer = await RELEASE.run(self._client, self._calls.release(info, by, online))
        return self._calls.effects(info.kind, info.user, answer)

    async def end(
        self,
        user: str,
        code: int,
        reason: str,
        *,
        client: str | None = None,
        session: str | None = None,
        keep: Iterable[str] = (),
    ) -> Effects:
        with translated(writes=True):
            call = self._calls.end(user, code, reason, client, session, keep)
            answer = await END.run(self._client, call)
        return self._calls.ended(user, answer)

    async def now(self) -> float:
        with translated():
            return float(await NOW.run(self._client, self._calls.now()))

    async def block(self, user: str, until: float | None) -> None:
        with translated(writes=True):
            await BLOCK.run(self._client, self._calls.block(user, until))

    async def unblock(self, user: str) -> bool:
        with translated(writes=True):
            return bool(await self._client.delete(self._calls.block_key(user)))

    async def blocked_until(self, user: str) -> float | None:
        with translated():
            left: int = await self._client.pttl(self._calls.block_key(user))
        if left < 0:
            return inf if left == -1 else None  # -2: there is no such key
        return await self.now() + left / 1000

    async def revoke(self, user: str, name: str, before: float | None) -> Effects:
        with translated(writes=True):
            answer = await REVOKE.run(self._client, self._calls.revoke(user, name, before))
        return self._calls.ended(user, answer)

    async def erase(self, user: str) -> Erased:
        with translated(writes=True):
            return self._calls.erased(await ERASE.run(self._client, self._calls.erase(user)))

    async def settle(
        self,
        users: Iterable[str],
        by: str = "",
        *,
        kind: Kind = Kind.CLIENT,
        warm: float = 0.0,
        dead: str = "",
        until: float | None = None,
        online: Collection[str] = (),
    ) -> dict[str, Effects]:
        settled: dict[str, Effects] = {}

        def asked(user: str, until: float | None) -> Call:
            return self._calls.settle(kind, user, by, warm, dead, until, user in online)

        for some in batches(list(dict.fromkeys(users))):
            began = self._steady()
            answers = await SETTLE.run_each(self._client, [asked(user, until) for user in some])
            if self._steady() - began < self._calls.patience:
                await self._settle_again(answers, some, asked)
            with translated(writes=True):
                _raise_if_all_failed(answers)
            for user, answer in zip(some, answers, strict=True):
                if not isinstance(answer, Exception):
                    settled[user] = self._calls.effects(kind, user, answer)
        return settled

    async def _settle_again(
        self,
        answers: list[Any],
        users: Sequence[str],
        asked: Callable[[str, float], Call],
    ) -> None:
        """Ask once more where the answer was quick, and yet too late: then the clock
        of that shard of a Cluster is ahead of the one that the node knows."""
        late = [index for index, answer in enumerate(answers) if self._calls.is_late(answer)]
        if not late:
            return
        calls = []
        for index in late:
            until = float(answers[index][1]) + self._calls.patience
            calls.append(asked(users[index], until))
        for index, answer in zip(late, await SETTLE.run_each(self._client, calls), strict=True):
            answers[index] = answer

    async def announced(self, changes: Iterable[PresenceChange]) -> None:
        for some in batches(self._calls.announced(changes)):
            with translated(writes=True):
                await ANNOUNCED.run_many(self._client, some)

    async def look(self, user: str, kind: Kind = Kind.CLIENT) -> UserPresence:
        return (await self._looked(user, kind))[1]

    async def _looked(self, user: str, kind: Kind) -> tuple[UserPresence, UserPresence]:
        """By the leases alone, and as this node knows it."""
        with translated():
            answer = await LOOK.run(self._client, self._calls.look(kind, user))
        warm = await self._warm() if self._calls.depends_on_warmth(answer) else 0.0
        by_leases = self._calls.presence(kind, user, answer, warm)
        return by_leases, self._corrected(by_leases, kind, answer)

    def _corrected(self, found: UserPresence, kind: Kind, answer: object) -> UserPresence:
        if self._doubt is None or kind is not Kind.CLIENT:
            return found
        return self._doubt.corrected(found, self._calls.depends_on_warmth(answer))

    async def look_at(self, users: Iterable[str], kind: Kind = Kind.CLIENT) -> PresenceAnswer:
        chosen = list(dict.fromkeys(users))
        answers: list[object] = []
        for some in batches(chosen):
            calls = [self._calls.look(kind, user) for user in some]
            answers += await LOOK.run_each(self._client, calls)
        with translated():
            _raise_if_all_failed(answers)
        warm = await self._warm() if any(map(self._calls.depends_on_warmth, answers)) else 0.0
        known = _answer(self._calls, kind, chosen, answers, warm).users
        found = [
            self._corrected(known[user], kind, answer)
            for user, answer in zip(chosen, answers, strict=True)
        ]
        return PresenceAnswer({one.user: one for one in found})

    async def is_online(self, user: str) -> bool:
        with translated():
            count: int = await COUNT.run(self._client, self._calls.count(user))
        if count > 0 or self._doubt is None or not self._doubt.active:
            return count > 0
        return bool(await self.sessions_of(user))

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        by_leases, known = await self._looked(user, Kind.CLIENT)
        here = self._doubt.here(user) if self._doubt is not None else ()
        if known is not by_leases and not here:
            raise GatewayUnavailable(
                "Redis does not renew leases: whether this user is connected cannot be known now"
            )
        return list(known.sessions or here)


class SyncRedisPresence:
    """The part of the interface that Django code needs, for threads; forks are safe too."""

    def __init__(
        self, client: SyncRedis, calls: PresenceCalls, *, warm: Callable[[], float]
    ) -> None:
        self._client = client
        self._calls = calls
        self._warm = warm

    def is_online(self, user: str) -> bool:
        """As `RedisPresence.is_online`."""
        return self.counts([user])[0] > 0

    def sessions_of(self, user: str) -> list[SessionInfo]:
        """As `RedisPresence.sessions_of`."""
        return list(self.look(user).sessions)

    def look(self, user: str, kind: Kind = Kind.CLIENT) -> UserPresence:
        """As `RedisPresence.look`."""
        with translated():
            answer = LOOK.run_sync(self._client, self._calls.look(kind, user))
        warm = self._warm() if self._calls.depends_on_warmth(answer) else 0.0
        return self._calls.presence(kind, user, answer, warm)

    def look_at(self, users: Iterable[str], kind: Kind = Kind.CLIENT) -> PresenceAnswer:
        """As `RedisPresence.look_at`."""
        chosen = list(dict.fromkeys(users))
        answers: list[object] = []
        for some in batches(chosen):
            calls = [self._calls.look(kind, user) for user in some]
            answers += LOOK.run_each_sync(self._client, calls)
        with translated():
            _raise_if_all_failed(answers)
        warm = self._warm() if any(map(self._calls.depends_on_warmth, answers)) else 0.0
        return _answer(self._calls, kind, chosen, answers, warm)

    def counts(self, users: Sequence[str]) -> list[int]:
        """How many live client sessions each of the users has."""
        return list(self._counted(users))

    def _counted(self, users: Sequence[str]) -> Iterator[int]:
        for some in batches(users):
            with translated():
                calls = [self._calls.count(user) for user in some]
                yield from COUNT.run_many_sync(self._client, calls)


def _raise_if_all_failed(answers: Sequence[object]) -> None:
    """Nothing is known at all: an error, and no answer."""
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    if failed and len(failed) == len(answers):
        raise failed[0]


def _answer(
    calls: PresenceCalls, kind: Kind, users: list[str], answers: list[object], warm: float
) -> PresenceAnswer:
    found = {}
    for user, answer in zip(users, answers, strict=True):
        if isinstance(answer, Exception):
            found[user] = UserPresence(user, PresenceState.UNKNOWN)
        else:
            found[user] = calls.presence(kind, user, answer, warm)
    return PresenceAnswer(found)
