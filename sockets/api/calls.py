"""Calls of the Python API as they go to another process: named, in JSON, with what they raise.

Both ends are of one project, but may be of two versions during a roll-out: an argument or a member
that one of them does not know is told, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Raw, Struct

from sockets.exceptions import (
    GatewayError,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidMessage,
    MessageTooLarge,
    NoWorkerAvailable,
    TaskIdTaken,
    TooManyRequests,
)
from sockets.types import Notification, PoolLoad

call_id: ContextVar[str | None] = ContextVar("gatewaycall_id", default=None)
"""Of the message or task that a call from elsewhere sends: known before the outcome is."""


@dataclass(frozen=True)
class Call:
    """One function of the API. `patience`: seconds that it may take, by its arguments."""

    name: str
    twin: Callable[..., Coroutine[Any, Any, Any]]
    patience: Callable[..., float]

    @cached_property
    def returns(self) -> Any:
        """Return the type of what it returns."""
        return get_type_hints(getattr(self.twin, "plain", self.twin))["return"]


CALLS: Final[dict[str, Call]] = {}
"""All that may be carried, by name."""


class Asked(Struct):
    """A call on its way. `id`: of what it sends, for whoever never hears of the outcome."""

    name: str
    args: dict[str, Raw]
    id: str = ""


class Raised(Struct, omit_defaults=True):
    """What a call raised. The members after `text` are those of the error of this kind."""

    kind: str
    text: str
    outcome: str = "nothing"
    id: str = ""
    pool: str = ""
    pools: list[PoolLoad] = []
    asked: int = 0
    retry_after: float = 0.0

    @classmethod
    def of(cls, error: Exception) -> Raised:
        """Describe an error that a caller may be told; of one that is none of ours, its text."""
        kind = next((one.__name__ for one in type(error).__mro__ if one in _KINDS), "GatewayError")
        told = cls(kind, str(error))
        if isinstance(error, GatewayUnavailable):
            told.outcome, told.id = error.outcome, error.id
        elif isinstance(error, NoWorkerAvailable):
            told.pool, told.pools, told.asked = error.pool, list(error.pools), error.asked
        elif isinstance(error, TooManyRequests):
            told.retry_after = error.retry_after
        return told

    def error(self) -> Exception:
        """Return it as this process raises it."""
        if self.kind == "NoWorkerAvailable":
            return NoWorkerAvailable(self.pool, self.pools, self.asked)
        if self.kind == "GatewayUnavailable":
            known: Any = self.outcome if self.outcome in ("nothing", "unknown") else "unknown"
            return GatewayUnavailable(self.text, outcome=known, id=self.id)
        if self.kind == "TooManyRequests":
            return TooManyRequests(self.text, self.retry_after)
        if self.kind == "TaskIdTaken":
            return TaskIdTaken()
        plain = {"InvalidMessage": InvalidMessage, "MessageTooLarge": MessageTooLarge}
        return (plain | {"ValueError": ValueError}).get(self.kind, GatewayError)(self.text)


class Answered(Struct, omit_defaults=True):
    """What came of a call: one of the two."""

    result: Raw = Raw(b"null")
    error: Raised | None = None


_KINDS: Final = frozenset(
    {
        *(InvalidMessage, MessageTooLarge, NoWorkerAvailable, TaskIdTaken, TooManyRequests),
        *(GatewayUnavailable, GatewayUnreachable, ValueError),
    }
)


def written(call: Call, given: dict[str, Any], id: str) -> bytes:
    """Return a call as it is sent. Raises InvalidMessage for arguments that have no JSON form."""
    plain = {name: _plain(value) for name, value in given.items()}
    try:
        return msgspec.json.encode({"name": call.name, "args": plain, "id": id})
    except (TypeError, ValueError) as error:
        raise InvalidMessage(f"{call.name}: an argument has no JSON form: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict | Raw):
        return list(value)
    return value


def result_of(call: Call, body: bytes) -> Any:
    """Return what a call returned. Raises what it raised, or GatewayUnavailable for an answer that
    cannot be read."""
    try:
        answer = msgspec.json.decode(body, type=Answered)
        if answer.error is None:
            return msgspec.json.decode(answer.result, type=call.returns)
    except msgspec.MsgspecError as error:
        text = f"the gateway's answer to {call.name} cannot be read ({error}): update both"
        raise GatewayUnavailable(text, outcome="unknown") from None
    raise answer.error.error()


async def answer(body: bytes) -> bytes:
    """Do what is asked for, and return what is to be answered. Raises InvalidMessage for what is no
    call."""
    try:
        asked = msgspec.json.decode(body, type=Asked)
        args = {name: _argument(name, raw) for name, raw in asked.args.items()}
    except msgspec.MsgspecError as error:
        raise InvalidMessage(f"this is no call of the Python API: {error}") from None
    call = CALLS.get(asked.name)
    if call is None:
        raise InvalidMessage(
            f"the gateway has no function {asked.name[:80]!r} that may be called from elsewhere: "
            "it may be of an older version than the caller"
        )
    before = call_id.set(asked.id or None)
    try:
        result = await call.twin(**args)
    except (GatewayError, ValueError, TypeError) as error:
        return msgspec.json.encode(Answered(error=Raised.of(error)))
    finally:
        call_id.reset(before)
    return msgspec.json.encode(Answered(Raw(msgspec.json.encode(result))))


def _argument(name: str, raw: Raw) -> Any:
    """Return one argument; data stays as it is written."""
    if name == "data":
        return raw.copy()
    if name == "notifications":
        return [_notification(one) for one in msgspec.json.decode(raw, type=list[dict[str, Raw]])]
    return msgspec.json.decode(raw)


def _notification(members: dict[str, Raw]) -> Notification:
    return Notification(**{name: _argument(name, raw) for name, raw in members.items()})
