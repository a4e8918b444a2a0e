"""Who is connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

from sockets.api import outbox
from sockets.api.carry import CALL_TIMEOUT, at_node, sync_face
from sockets.api.given import given
from sockets.api.users import UserId, as_user, as_users
from sockets.exceptions import InvalidMessage
from sockets.node.core import Core
from sockets.node.state import SyncBackends
from sockets.types import PresenceAnswer, SessionInfo, UserPresence

MAX_ASKED = 10_000
"""Users in one question about presence."""

MAX_WAIT = 24 * 3600
"""Seconds that `wait_until_online` waits at most."""

WAIT_INTERVAL = 0.5
"""Seconds between two looks of `wait_until_online`."""


def _require_users(user_ids: Iterable[UserId]) -> list[str]:
    """Raises InvalidMessage."""
    chosen = as_users(user_ids)
    if len(chosen) > MAX_ASKED:
        raise InvalidMessage(f"{len(chosen)} users at once: ask for at most {MAX_ASKED}")
    return chosen


@given(user_id=as_user)
async def ais_online(user_id: UserId) -> bool:
    """Return whether a user has a live client session."""
    user = str(user_id)
    return await at_node(lambda node: node.presence.is_online(user))


@given(user_id=as_user)
async def asessions_of(user_id: UserId) -> list[SessionInfo]:
    """Return a user's live client sessions, oldest first."""
    user = str(user_id)
    return await at_node(lambda node: node.presence.sessions_of(user))


@given(user_id=as_user)
async def apresence_of(user_id: UserId) -> UserPresence:
    """Presence of a user: connected, in grace or offline; the live sessions; when last seen."""
    user = str(user_id)
    return await at_node(lambda node: node.presence.look(user))


@given(user_ids=_require_users)
async def apresence_of_users(user_ids: Iterable[UserId]) -> PresenceAnswer:
    """Return the presence of at most 10,000 users.

    Where a shard of a Redis Cluster does not answer, its users are `unknown` and the answer is
    `partial`.
    """
    users = [str(user) for user in user_ids]
    return await at_node(lambda node: node.presence.look_at(users))


@given(user_id=as_user)
async def await_until_online(user_id: UserId, timeout: float) -> bool:
    """Wait until the user has a live session, at most `timeout` seconds; whether that is so."""
    user = str(user_id)
    patience = _wait_patience(user, timeout)

    async def wait(node: Core) -> bool:
        # Not `asyncio.timeout`: it cancels once, and where that meets an answer it may be lost.
        pauses, deadline = _pauses(), time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if await node.presence.is_online(user):
                return True
            if left <= 0 or node is outbox.CORE:
                return False
            await asyncio.sleep(min(next(pauses), left))

    return await at_node(wait, patience)


def _wait_patience(user_id: object, timeout: float) -> float:
    """Raises InvalidMessage."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise InvalidMessage("timeout is a number of seconds")
    if not 0 <= timeout <= MAX_WAIT:
        raise InvalidMessage(f"timeout is a number of seconds, from 0 to {MAX_WAIT}")
    return timeout + CALL_TIMEOUT


def _is_online(redis: SyncBackends, user_id: str) -> bool:
    return redis.presence.is_online(user_id)


def _sessions_of(redis: SyncBackends, user_id: str) -> list[SessionInfo]:
    return redis.presence.sessions_of(user_id)


def _presence_of(redis: SyncBackends, user_id: str) -> UserPresence:
    return redis.presence.look(user_id)


def _presence_of_users(redis: SyncBackends, user_ids: Sequence[str]) -> PresenceAnswer:
    return redis.presence.look_at(user_ids)


def _wait_until_online(redis: SyncBackends, user_id: str, timeout: float) -> bool:
    _wait_patience(user_id, timeout)
    pauses, deadline = _pauses(), time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        if redis.presence.is_online(user_id):
            return True
        if left <= 0:
            return False
        time.sleep(min(next(pauses), left))


def _pauses() -> Iterator[float]:
    return chain((0.05, 0.1, 0.2), repeat(WAIT_INTERVAL))


is_online = sync_face(ais_online, _is_online)
sessions_of = sync_face(asessions_of, _sessions_of)
presence_of = sync_face(apresence_of, _presence_of)
presence_of_users = sync_face(apresence_of_users, _presence_of_users)
wait_until_online = sync_face(await_until_online, _wait_until_online, patience=_wait_patience)
