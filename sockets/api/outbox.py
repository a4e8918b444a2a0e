"""The outbox of tests: what Django code would have sent, as `django.core.mail.outbox` is for mail.

In use where Django's test environment is set up (`manage.py test`, pytest-django) and no node runs
in the process: no Redis, no gateway and no file of one is asked. Arguments are checked as by the
gateway; nobody is connected, and no worker is asked.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from sockets.api.calls import Call
from sockets.base import under_test
from sockets.base.ids import new_id
from sockets.conf import get_conf
from sockets.deliveries import Explanation, Fate, Forgotten, MessageFacts, Step, StepCode
from sockets.delivery.compose import Composer, Outgoing
from sockets.node.core import Core
from sockets.reports import (
    EndedTrace,
    LiveSessions,
    Overview,
    Trace,
    TurnedAwayList,
    UserReport,
    WorkersReport,
)
from sockets.streams.base import NewEntry
from sockets.types import (
    Disconnected,
    Notification,
    Page,
    Position,
    PresenceAnswer,
    PresenceState,
    Receipt,
    Task,
    TaskState,
    UserPresence,
)

EPOCH = "test"
"""The epoch of each stream of a test; offsets count the durable messages of a user from 1."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One thing that a test's code has done.

    `call`: "notify", "broadcast", "assign_task", or the name of the function that ends something
    ("disconnect_user", "block_user", "revoke", ...). `user`: whom it is for, None for everybody.
    `data`: as a client would see it. `options`: what else was given.
    """

    call: str
    user: str | None = None
    event: str = ""
    data: Any = None
    options: dict[str, Any] = field(default_factory=dict)


outbox: list[Sent] = []
"""Empty it between tests: `sockets.testing` has a mixin and, for pytest, does it by itself."""


def in_use() -> bool:
    """Whether calls of this process go to the outbox."""
    return under_test.is_set_up()


class _Notifier:
    async def send(self, notification: Notification, *, id: str | None = None) -> Receipt:
        return _sent(_composer().one(notification, id=id), notification)

    async def send_many(
        self, users: list[str], notification: Notification, *, id: str | None = None
    ) -> list[Receipt]:
        many = {one.user: one for one in _composer().many(users, notification, id=id)}
        receipts = {user: _sent(one, notification) for user, one in many.items()}
        return [receipts[user] for user in users]

    async def send_batch(
        self, notifications: list[Notification], idempotency_key: str | None = None
    ) -> list[Receipt]:
        written = _composer().batch(notifications, idempotency_key)
        return [_sent(one, given) for one, given in zip(written, notifications, strict=True)]

    async def broadcast(self, notification: Notification) -> Receipt:
        id, _ = _composer().broadcast(notification)
        outbox.append(Sent("broadcast", None, notification.event, _data(notification.data)))
        return Receipt(id, None, None)


class _Presence:
    async def is_online(self, user: str) -> bool:
        return False

    async def sessions_of(self, user: str) -> list[Any]:
        return []

    async def look(self, user: str) -> UserPresence:
        return UserPresence(user, PresenceState.OFFLINE)

    async def look_at(self, users: list[str]) -> PresenceAnswer:
        return PresenceAnswer({user: await self.look(user) for user in users})

    async def now(self) -> float:
        return time.time()

    async def unblock(self, user: str) -> bool:
        outbox.append(Sent("unblock_user", user))
        return False


class _Control:
    async def disconnect(self, user: str, **options: Any) -> Disconnected:
        outbox.append(Sent("disconnect_user", user, options=options))
        return Disconnected(0)

    async def block(self, user: str, until: float | None, code: int, reason: str) -> Disconnected:
        outbox.append(Sent("block_user", user, options={"until": until, "reason": reason}))
        return Disconnected(0)

    async def revoke(self, user: str, name: str, before: float | None) -> Disconnected:
        outbox.append(Sent("revoke", user, options={"what": name, "before": before}))
        return Disconnected(0)

    async def disconnect_sessions(self, ids: list[str], code: int, reason: str) -> dict[str, Any]:
        options = {"session_ids": ids, "code": code, "reason": reason}
        outbox.append(Sent("disconnect_sessions", options=options))
        return {}

    async def sessions(self, node: str | None, limit: int) -> list[Any]:
        return []

    async def page_of_sessions(self, node: str | None, at: Any, limit: int) -> tuple[Any, None]:
        return [], None

    async def drain(self, node: str) -> bool:
        outbox.append(Sent("drain_node", options={"name": node}))
        return False


class _Inquiry:
    async def delivery_of(self, user: str, which: Any) -> list[Any]:
        return []

    async def ledger_of(self, user: str) -> list[Any]:
        return []

    async def explain(self, user: str, which: Any) -> Explanation:
        facts = MessageFacts(which.epoch or EPOCH, which.offset, Fate.NOT_THERE)
        return Explanation(user, facts, [], [Step(StepCode.NOBODY)], [], time.time())


class _Forgetting:
    async def forget(self, user: str) -> Forgotten:
        outbox.append(Sent("forget_user", user))
        return Forgotten(0, 0, 0, 0, state=False, rows=0, blocked=False, revoked=False)


class _Streams:
    async def head(self, user: str) -> Position:
        return Position(EPOCH, _head(user))

    async def read(self, user: str, at: Position | None, limit: int) -> Page:
        return Page(EPOCH, _head(user), 0, (), 0)


class _Dispatcher:
    async def assign(
        self, pool: str, event: str, data: Any, *, user_id: str | None, id: str | None, **how: Any
    ) -> Task:
        options = {
            "pool": pool,
            **{name: value for name, value in how.items() if value is not None},
        }
        outbox.append(Sent("assign_task", user_id, event, _data(data), options))
        now = time.time()
        return Task(
            id=id or new_id(),
            pool=pool,
            event=event,
            node=EPOCH,
            timeout=how.get("timeout") or get_conf().task_timeout,
            created=now,
            user=user_id,
            state=TaskState.RUNNING,
            started=now,
        )

    async def cancel(self, task_id: str) -> bool:
        outbox.append(Sent("cancel_task", options={"task_id": task_id}))
        return False

    async def get(self, task_id: str) -> None:
        return None

    async def pools(self) -> list[Any]:
        return []


class _Operations:
    """Nobody is connected, and no node is there."""

    async def overview(self, after: float, last: float | None) -> Overview:
        return Overview(time.time(), 0, 0, 0, [], [], 10.0, [])

    async def find(self, q: str, node: str | None, query_at: Any) -> LiveSessions:
        return LiveSessions([], 0, 0, [], time.time())

    async def session(self, session_id: str, *, frames: bool) -> None:
        return None

    async def refusals(self, user: str, address: str, limit: int) -> TurnedAwayList:
        return TurnedAwayList([], 0, 0, [])

    async def workers(self) -> WorkersReport:
        return WorkersReport([], [], 0, [])

    async def release_task(self, task_id: str) -> None:
        outbox.append(Sent("release_task", options={"task_id": task_id}))
        return None

    async def user(self, user: str) -> UserReport:
        presence, head = UserPresence(user, PresenceState.OFFLINE), Position(EPOCH, _head(user))
        return UserReport(user, presence, [], [], [], False, None, head, 0, [], [], [])

    async def trace(self, user: str, *, seconds: float, bodies: bool, by: str) -> Trace:
        outbox.append(Sent("trace_user", user, options={"bodies": bodies, "by": by}))
        now = time.time()
        return Trace(user, now, now + seconds, bodies, by, [])

    async def read_trace(self, user: str, after: str, *, bodies: bool) -> None:
        return None

    async def end_trace(self, user: str) -> EndedTrace:
        outbox.append(Sent("end_trace", user))
        return EndedTrace(ended=False)


class _Nodes:
    async def all(self) -> list[Any]:
        return []


CORE = cast(
    Core,
    SimpleNamespace(
        notifier=_Notifier(),
        presence=_Presence(),
        control=_Control(),
        streams=_Streams(),
        dispatcher=_Dispatcher(),
        nodes=_Nodes(),
        operations=_Operations(),
        inquiry=_Inquiry(),
        forgetting=_Forgetting(),
    ),
)
"""What calls are made at in the place of a node."""


class _Way:
    def call(self, call: Call, given: dict[str, Any], id: str) -> Any:
        return asyncio.run(self.acall(call, given, id))

    async def acall(self, call: Call, given: dict[str, Any], id: str) -> Any:
        plain: Any = getattr(call.twin, "plain", call.twin)
        return await plain(**given)  # `at_node` finds CORE


WAY = _Way()


def _composer() -> Composer:
    return Composer(get_conf().max_message_size, time.time)


def _sent(one: Outgoing, given: Notification) -> Receipt:
    entry: NewEntry = one.entry
    options = {
        name: value
        for name in ("ttl", "collapse_key", "idempotency_key", "exclude_client")
        if (value := getattr(given, name)) is not None
    }
    if not one.durable:
        options["durable"] = False
    outbox.append(Sent("notify", one.user, given.event, _data(given.data), options))
    if not one.durable:
        return Receipt(entry.id, None, None)
    return Receipt(entry.id, EPOCH, _head(one.user))


def _head(user: str) -> int:
    return sum(
        one.call == "notify" and one.user == user and one.options.get("durable", True)
        for one in outbox
    )


def _data(data: Any) -> Any:
    return msgspec.json.decode(data) if isinstance(data, msgspec.Raw) else data
