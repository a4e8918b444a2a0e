"""Every error that this package raises on purpose.

    GatewayError
    ├── InvalidRequest          what was asked for is wrong; `errors` says where (also a ValueError)
    │   └── TooLarge                a message or a body is above the gateway's limit
    ├── Unauthorized            no key, or one that is not known or has ended
    ├── Forbidden               the key lacks a scope
    ├── NotFound                there is no such thing
    ├── TaskIdTaken             another task has this `task_id`
    ├── TaskNotRunning          a task that is only offered, or has ended, is not handed back
    ├── PositionGone            the stream does not reach back so far: load your state anew
    ├── TooManyRequests         `retry_after` says when to come again
    ├── NoWorkerAvailable       nobody can take this task now; `pools` says how full they are
    ├── Unavailable             the gateway did not answer, or cannot do it now
    │   ├── Unreachable             no connection was made: nothing was done
    │   ├── BufferFull              too many notifications of a worker wait already
    │   └── UnexpectedAnswer        what answered does not speak the gateway's HTTP API
    ├── Rejected                the gateway does not want this worker; `close_code` says why
    └── BadWebhook              the signature, the time or the body is not right

`outcome` says whether the call had its effect: `"nothing"`, `"happened"` or `"unknown"`. The text
is written for people, says what to do next, and never holds a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gateway_client.models import PoolLoad, Receipt, WrongMember

Outcome = Literal["nothing", "happened", "unknown"]


class GatewayError(Exception):
    """The root: catch it to catch everything that is ours.

    `outcome`: whether the call had its effect. `code`: the problem as programs read it, "" where
    the gateway did not answer. `retry_after`: seconds to wait, None where waiting does not help.
    `receipts`: of `notify_batch`, what was sent before this part of the batch.
    """

    def __init__(
        self,
        text: str,
        *,
        outcome: Outcome = "nothing",
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.outcome: Outcome = outcome
        self.code = code
        self.retry_after = retry_after
        self.receipts: Sequence[Receipt] = ()


class InvalidRequest(GatewayError, ValueError):
    """What was asked for is wrong. `errors`: where, as the gateway says it; may be empty."""

    errors: Sequence[WrongMember] = ()


class TooLarge(InvalidRequest):
    """A message or a body is above the gateway's limit: send a link to the data instead."""


class Unauthorized(GatewayError):
    """No key, or one that is not known or has ended."""


class Forbidden(GatewayError):
    """The key lacks the scope that the text names."""


class NotFound(GatewayError):
    """There is no such task, session or page."""


class TaskIdTaken(GatewayError):
    """Another task has this `task_id`: give each task a new one."""


class TaskNotRunning(GatewayError):
    """The task is offered only, or has ended: there is nothing to hand back."""


class PositionGone(GatewayError):
    """The stream does not reach back to this position: load your state anew."""


class TooManyRequests(GatewayError):
    """More requests than the key may make; `retry_after` says how long to wait."""


class NoWorkerAvailable(GatewayError):
    """Nobody can take this task now. The caller keeps it, and tries again a little later.

    `pools`: those that the key may use, and how full they are.
    """

    pools: Sequence[PoolLoad] = ()


class Unavailable(GatewayError):
    """The gateway did not answer, or cannot do it now; `outcome` says what is known."""


class Unreachable(Unavailable):
    """No connection to the gateway was made: nothing was done."""


class BufferFull(Unavailable):
    """Too many notifications of a worker wait for the gateway: this one is not among them."""


class UnexpectedAnswer(Unavailable):
    """What answered does not speak the gateway's HTTP API: a proxy, or another program."""


class Rejected(GatewayError):
    """The gateway does not want this worker, and coming back would not help.

    `close_code`: 4500 to 4999, or the HTTP status that refused the handshake.
    """

    def __init__(self, text: str, close_code: int) -> None:
        super().__init__(text)
        self.close_code = close_code


class BadWebhook(GatewayError):
    """A request that is not the gateway's, or not of just now: answer it 403."""
