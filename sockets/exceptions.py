"""Every error that the gateway raises on purpose.

    GatewayError
    ├── Refused                 a connection that may not be: carries its close code
    │   ├── BadRequest              4500
    │   ├── Unauthorized            4501
    │   │   ├── MissingClaim            sockets.auth.tokens: the token lacks a claim
    │   │   └── Unreadable              sockets.auth.session_reader: it will not mend by itself
    │   ├── Forbidden               4502
    │   ├── SessionLimit            4505
    │   ├── Blocked                 4507
    │   ├── Revoked                 4508
    │   ├── TokenExpired            4003
    │   ├── TryAgainLater           1013
    │   └── ShuttingDown            1012
    ├── BadFrame                one frame that cannot be read; the socket stays open
    ├── InvalidMessage          this cannot be sent; the caller's mistake (also a ValueError)
    │   ├── MessageTooLarge
    │   └── AsksTheDatabase         sockets.api.data: lazy, in async code (SynchronousOnlyOperation)
    ├── TooManyRequests         the HTTP API: `retry_after` says when to come again
    ├── NoWorkerAvailable       nobody can take this task now; `pools` says who there is
    ├── TaskIdTaken             another task has this `task_id`
    ├── GatewayUnavailable      the state store did not answer; `outcome` says what is known
    │   ├── PartlyRenewed           sockets.presence.base: a shard did not take its renewals
    │   └── PartlyWritten           sockets.ledger.base: a shard did not take its notes
    ├── GatewayUnreachable      memory mode, and this process is not the gateway
    ├── AlreadyRunning          another process has this one's place
    └── MisconfiguredRedis      the server at REDIS_URL cannot keep the gateway's promises

`close_code` is what a socket is closed with, `http_status` what the HTTP API answers.
The text is written for the caller and says what to do next; it never holds a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from sockets.codes import CloseCode, ErrorCode
from sockets.types import PoolLoad

_MAX_TOLD: Final = 10
"""Pools named in an error's text."""


class GatewayError(Exception):
    """The root: catch it to catch everything that is ours."""

    close_code: ClassVar[CloseCode] = CloseCode.INTERNAL_ERROR
    http_status: ClassVar[int] = 500


class Refused(GatewayError):
    """This connection is not wanted; the text becomes the close reason (at most 123 bytes).

    `user`: whose it would have been, where its proof says that for sure; "" if not.
    """

    user: str = ""


class BadRequest(Refused):
    """The handshake or a frame does not follow the protocol."""

    close_code = CloseCode.BAD_REQUEST
    http_status = 400


class Unauthorized(Refused):
    """No valid proof of identity."""

    close_code = CloseCode.UNAUTHORIZED
    http_status = 401


class Forbidden(Refused):
    """Known, but not allowed."""

    close_code = CloseCode.FORBIDDEN
    http_status = 403


class SessionLimit(Refused):
    """The user has as many live sessions as SESSIONS_PER_USER allows."""

    close_code = CloseCode.SESSION_LIMIT
    http_status = 429


class Blocked(Refused):
    """The application has blocked this user."""

    close_code = CloseCode.BLOCKED
    http_status = 403


class Revoked(Refused):
    """What was proved does not count any more: logged out, password changed, deactivated."""

    close_code = CloseCode.REVOKED
    http_status = 401


class TokenExpired(Refused):
    """The client should come back with a new token."""

    close_code = CloseCode.TOKEN_EXPIRED
    http_status = 401


class TryAgainLater(Refused):
    """Full or on the way down; another node, or this one later, will do."""

    close_code = CloseCode.TRY_AGAIN_LATER
    http_status = 503


class ShuttingDown(Refused):
    """This node takes nobody any more."""

    close_code = CloseCode.SHUTTING_DOWN
    http_status = 503


class BadFrame(GatewayError):
    """One frame that is answered with an error reply; `ref` is its own, if one could be read.

    `is_json`: whoever sent it speaks JSON, and is no peer that cannot be understood.
    """

    close_code = CloseCode.BAD_REQUEST
    http_status = 400

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        ref: str | int | None = None,
        *,
        is_json: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.ref = ref
        self.is_json = is_json


class InvalidMessage(GatewayError, ValueError):
    """An argument of a notification has the wrong type or cannot be written as JSON."""

    http_status = 422


class MessageTooLarge(InvalidMessage):
    """The encoded message is larger than MAX_MESSAGE_SIZE."""

    http_status = 413


class TooManyRequests(GatewayError):
    """More than a key's share of the HTTP API. `retry_after`: seconds."""

    close_code = CloseCode.RATE_LIMIT
    http_status = 429

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoWorkerAvailable(GatewayError):
    """No live worker of the pool has a free place, or none of those asked accepted.

    `pools`: every pool that has a live worker, and how full it is. The caller keeps the job: try
    again when a task of the pool has ended, or a little later.
    """

    close_code = CloseCode.TRY_AGAIN_LATER
    http_status = 503

    def __init__(self, pool: str, pools: Sequence[PoolLoad], asked: int = 0) -> None:
        self.pool = pool
        self.pools = tuple(pools)
        self.asked = asked
        super().__init__(self._text())

    def _text(self) -> str:
        mine = next((load for load in self.pools if load.pool == self.pool), None)
        if self.asked:
            text = f"pool {self.pool!r}: none of {self.asked} workers asked accepted the task"
        elif mine is None:
            text = f"no worker of pool {self.pool!r} is connected"
        else:
            text = f"pool {self.pool!r} is full: {mine.held} of {mine.capacity} places taken"
        others = [
            f"{load.pool} ({load.workers} workers, {load.held} of {load.capacity} taken)"
            for load in self.pools
            if load.pool != self.pool
        ]
        if others:
            more = ", …" if len(others) > _MAX_TOLD else ""
            text += f"; other pools: {', '.join(others[:_MAX_TOLD])}{more}"
        return text


class TaskIdTaken(GatewayError):
    """Another task has this `task_id`: of another pool, or asked for with other arguments.

    It says nothing about that task, which may be none of the caller's business.
    """

    close_code = CloseCode.BAD_REQUEST
    http_status = 409

    def __init__(self) -> None:
        super().__init__(
            "another task has this task_id: give each task a new ULID, and repeat a call only with "
            "the pool, event, user, data and options that it had the first time"
        )


class GatewayUnavailable(GatewayError):
    """The state store did not answer in time.

    `outcome` "nothing": surely not done. "unknown": perhaps done; repeating the call with
    `idempotency_key=error.id` cannot double it. `detail`: what Redis itself said, for the log only.
    """

    close_code = CloseCode.TRY_AGAIN_LATER
    http_status = 503

    def __init__(
        self,
        message: str,
        *,
        outcome: Literal["nothing", "unknown"] = "nothing",
        id: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.id = id
        self.detail = detail


class AlreadyRunning(GatewayError):
    """Another process holds the data directory, or the name; the text says which, what to do."""


class MisconfiguredRedis(GatewayError):
    """A setting of the Redis server breaks what the gateway promises; the text says which."""


class GatewayUnreachable(GatewayError):
    """Memory mode lives in one process, and the caller is in another that cannot ask it."""

    http_status = 503

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            or "the gateway runs in memory mode, inside its own process, and none answers beside "
            "this one: in development start `python manage.py serve` with the same DATA_DIR; "
            "elsewhere set REDIS_URL for both, or GATEWAY_URL and GATEWAY_KEY here"
        )
