"""Every frame of `gateway.v1` as a msgspec struct; protocol.md sections 2 and 4 are these classes.

`type` is the tag. Unknown members are ignored. `data` stays raw JSON: the gateway passes it on
byte for byte and never looks inside.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from msgspec.structs import asdict

from sockets.types import Notification

_MAX_INT = 2**63 - 1
Ref = Annotated[str, Meta(max_length=128)] | Annotated[int, Meta(ge=-_MAX_INT, le=_MAX_INT)]
UserId = Annotated[str, Meta(min_length=1, max_length=1024)] | int
"""An integer is its decimal digits."""
Event = Annotated[str, Meta(min_length=1, max_length=255)]
Key = Annotated[str, Meta(min_length=1, max_length=255)]
Offset = Annotated[int, Meta(ge=0, le=_MAX_INT)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
MAX_TTL = 10 * 365 * 86_400
"""Seconds."""

Reason = Annotated[str, Meta(max_length=1_000)]


def _null() -> Raw:
    """Make a default: as a plain default it could not be written into the JSON Schema."""
    return Raw(b"null")


# --- client -> server


class Pong(Struct, tag="pong"):
    """The answer to `ping`."""


class Ack(Struct, tag="ack"):
    """All durable messages up to here are processed."""

    epoch: Annotated[str, Meta(max_length=64)]
    offset: Offset
    ref: Ref | UnsetType = UNSET


class Send(Struct, tag="send"):
    """To the workers attached to this user, and to Django code by signal."""

    event: Event
    data: Raw = field(default_factory=_null)
    ref: Ref | UnsetType = UNSET


class Refresh(Struct, tag="refresh"):
    """A new token on the live socket."""

    token: Annotated[str, Meta(max_length=8_192)]
    ref: Ref | UnsetType = UNSET


class Connect(Struct, tag="connect"):
    """The first frame, of a client that said `auth=frame`: the token that it opens with."""

    token: Annotated[str, Meta(max_length=8_192)]
    ref: Ref | UnsetType = UNSET


class ListSessions(Struct, tag="sessions"):
    """This user's own live sessions."""

    ref: Ref | UnsetType = UNSET


ClientMessage = Connect | Pong | Ack | Send | Refresh | ListSessions


# --- worker -> server


class Notify(Struct, tag="notify"):
    """Notify a user."""

    user: UserId
    event: Event
    data: Raw = field(default_factory=_null)
    durable: bool = True
    collapse_key: Key | None = None
    ttl: Annotated[float, Meta(gt=0, le=MAX_TTL)] | None = None
    idempotency_key: Key | None = None
    exclude_client: Id | None = None
    ref: Ref | UnsetType = UNSET

    def notification(self) -> Notification:
        """Return what this asks for."""
        given = asdict(self)
        del given["ref"]
        return Notification(given.pop("user"), **given)


class Attach(Struct, tag="attach"):
    """Receive what this user's clients `send`."""

    user: UserId
    ref: Ref | UnsetType = UNSET


class Detach(Struct, tag="detach"):
    """The opposite of `attach`."""

    user: UserId
    ref: Ref | UnsetType = UNSET


class Presence(Struct, tag="presence"):
    """Is this user online, and with what?"""

    user: UserId
    ref: Ref | UnsetType = UNSET


class Accept(Struct, tag="accept"):
    """The worker takes the offered task; it starts only when the reply says ok."""

    task: Id
    offer: Id
    ref: Ref | UnsetType = UNSET


class Reject(Struct, tag="reject"):
    """The worker does not take the offered task."""

    task: Id
    offer: Id
    ref: Ref | UnsetType = UNSET


class Progress(Struct, tag="progress"):
    """A sign of life of a running task; its user hears `data`, how far it is."""

    task: Id
    data: Raw | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET


class Done(Struct, tag="done"):
    """The task is done; `data` is its result."""

    task: Id
    data: Raw = field(default_factory=_null)
    ref: Ref | UnsetType = UNSET


class Failed(Struct, tag="failed"):
    """The task cannot be done; `error` says why, for people."""

    task: Id
    error: Reason = ""
    ref: Ref | UnsetType = UNSET


class Release(Struct, tag="release"):
    """The worker hands the task back undone."""

    task: Id
    error: Reason = ""
    ref: Ref | UnsetType = UNSET


TaskMessage = Accept | Reject | Progress | Done | Failed | Release
WorkerMessage = Pong | Notify | Attach | Detach | Presence | TaskMessage


# --- server -> client and worker


class Limits(Struct):
    """What the peer must keep to; bytes."""

    frame: int
    message: int


class Welcome(Struct, tag="welcome"):
    """The first frame to a client. `heartbeat` in seconds; 0: there will be no pings.

    `expires_in`: seconds until the proof ends, without the grace; unset where it has no end.
    """

    session: str
    user: str
    client: str
    node: str
    epoch: str
    offset: int
    recovered: bool | None
    heartbeat: float
    limits: Limits
    expires_in: float | UnsetType = UNSET


class WorkerWelcome(Struct, tag="welcome"):
    """The first frame to a worker. `tasks`: those it still holds. `quiet`: a `progress` without
    data is told to nobody; gateways that do not say so tell it as null."""

    session: str
    worker: str
    pools: list[str]
    node: str
    heartbeat: float
    limits: Limits
    tasks: list[str]
    quiet: bool = True


class Body(Struct):
    """The part of a `message` that is the same for every session; stored in the stream."""

    id: str
    event: str
    data: Any
    time: float


class Message(Struct, tag="message", omit_defaults=True):
    """A notification, as a client gets it. With `offset` it is durable: in order, once, without a
    gap. `prev`: the position that it follows, where that is not `offset - 1`. `missed`: ephemeral
    messages dropped since the last such count. `time`: seconds since the epoch.

    What is sent is put together of a `Body` that was written before (`codec.message_frame`).
    """

    id: str
    event: str
    data: Any
    time: float
    offset: int | UnsetType = UNSET
    prev: int | UnsetType = UNSET
    missed: int | UnsetType = UNSET


class FromClient(Struct, tag="message"):
    """A client's `send`, as an attached worker receives it."""

    user: str
    client: str
    event: str
    data: Raw


class OfferedTask(Struct, tag="task"):
    """A task laid before one worker: answer `accept` or `reject`, naming `offer`.

    `timeout`: seconds that it may run without `progress`.
    """

    task: str
    offer: str
    pool: str
    user: str | None
    event: str
    data: Raw
    timeout: float


class TaskCancel(Struct, tag="task.cancel"):
    """Stop: the task is not this worker's any more. `reason`: cancelled, lost, or released
    by an operator."""

    task: str
    reason: str


class PositionMoved(Struct, tag="position"):
    """The stream went on without a message for this session."""

    offset: int


class Reset(Struct, tag="reset"):
    """What followed your position is gone: reload your state."""

    epoch: str
    offset: int


class Ping(Struct, tag="ping", omit_defaults=True):
    """Answer with `pong`. `missed`: ephemeral messages dropped since the last such count."""

    missed: int = 0


class Error(Struct):
    """The reason of a refusal: `code` for programs, `message` for people."""

    code: str
    message: str


class Reply(Struct, tag="reply", omit_defaults=True):
    """The answer to a request; `ref` is missing when the request had none that could be read."""

    ok: bool
    ref: str | int | None = None
    error: Error | None = None
    id: str | None = None
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool = False
    online: bool | None = None
    sessions: list[dict[str, Any]] | None = None
    more: bool | None = None
    expires_in: float | None = None


class Closing(Struct, tag="closing"):
    """A planned close is coming; come back after `reconnect_after` seconds."""

    code: int
    reconnect_after: float


ToClient = Welcome | Message | PositionMoved | Reset | Ping | Reply | Closing
ToWorker = WorkerWelcome | FromClient | OfferedTask | TaskCancel | Ping | Reply | Closing
