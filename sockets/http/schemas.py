"""What the HTTP API takes and gives; the OpenAPI document is made of these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import BeforeValidator, ConfigDict, Strict, StringConstraints

from sockets.base.ids import user_id_of
from sockets.deliveries import (
    ClientDelivery,
    Explanation,
    Fate,
    Forgotten,
    LedgerEntry,
    MessageFacts,
    Standing,
    Step,
    StepCode,
)
from sockets.protocol.messages import MAX_TTL
from sockets.types import (
    MAX_SHOWN,
    Disconnected,
    Kind,
    NodeInfo,
    Outcome,
    PresenceState,
    Receipt,
    SessionDelivery,
    SessionInfo,
    Task,
    TaskState,
    UserPresence,
    newest,
)


def _user_id(value: Any) -> Any:
    """Return an integer as its digits; what is no user id at all is refused by the next check."""
    return value if isinstance(value, str) else user_id_of(value)


_UserText = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
UserId = Annotated[_UserText, BeforeValidator(_user_id, json_schema_input_type=_UserText | int)]
"""An integer is its decimal digits."""
Flag = Annotated[bool, Strict()]
"""`true` or `false`: 0 and "no" are neither."""
Seconds = Annotated[float, Strict()]
"""A number: `true` is none."""
ProofId = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Event = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=255)]

Id = Annotated[str, StringConstraints(pattern="^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
"""A ULID: of a client, a session or a task."""
MAX_BATCH = 1_000
MAX_ASKED = 10_000


class In(Schema):
    """A body whose unknown members are errors, for they may be misspelt."""

    model_config = ConfigDict(extra="forbid")


_EPHEMERAL: dict[str, Any] = {
    # An ephemeral message is not kept, so there is nothing to outlive, replace or repeat.
    "if": {"properties": {"durable": {"const": False}}, "required": ["durable"]},
    "then": {
        "properties": {
            name: {"type": "null"} for name in ("ttl", "collapse_key", "idempotency_key")
        }
    },
}


_ONE_PROOF: dict[str, Any] = {
    "if": {"properties": {"sid": {"type": "string"}}, "required": ["sid"]},
    "then": {"properties": {"jti": {"type": "null"}}},
}


_ONE_END: dict[str, Any] = {
    "if": {"properties": {"until": {"type": "number"}}, "required": ["until"]},
    "then": {"properties": {"seconds": {"type": "null"}}},
}


class MessageIn(In):
    """A notification."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_EPHEMERAL)

    event: Event = Field(..., examples=["order.paid"])
    data: Any = Field(None, examples=[{"order": 7}])
    durable: Flag = Field(
        True, description="Kept in the user's stream; false: for live sessions only."
    )
    ttl: Seconds | None = Field(
        None, gt=0, le=MAX_TTL, description="How long the message is worth delivering, in seconds."
    )
    collapse_key: Key | None = Field(
        None, description="Replaces the user's earlier message with this key."
    )
    exclude_client: Id | None = Field(None, description="The id of a client that does not get it.")
    idempotency_key: Key | None = Field(
        None, description="Like the header Idempotency-Key: a repetition gets the first receipt."
    )


class BatchMessageIn(MessageIn):
    """A notification of a batch."""

    user: UserId = Field(..., examples=["42"])


class BatchIn(In):
    """Messages that are sent together; none is sent if one of them is wrong."""

    messages: list[BatchMessageIn] = Field(..., min_length=1, max_length=MAX_BATCH)


class BroadcastIn(In):
    """A notification to every connected client; clients that are away never get it."""

    event: Event = Field(..., examples=["maintenance"])
    data: Any = None
    exclude_client: Id | None = Field(None, description="The id of a client that does not get it.")


class ReceiptOut(Schema):
    """What became of a notification."""

    id: str
    epoch: str | None = Field(
        ..., description="With `offset` its place in the stream; null: it is not kept."
    )
    offset: int | None
    duplicate: bool
    reach: int | None = Field(
        ...,
        description="How many sessions of the user were live; null for a key without `presence`.",
    )

    @classmethod
    def of(cls, receipt: Receipt, *, with_reach: bool) -> ReceiptOut:
        return cls(
            id=receipt.id,
            epoch=receipt.epoch,
            offset=receipt.offset,
            duplicate=receipt.duplicate,
            reach=receipt.reach if with_reach else None,
        )


class ReceiptsOut(Schema):
    """Receipts, in the order of the messages."""

    receipts: list[ReceiptOut]


class PositionOut(Schema):
    """A place in a user's stream."""

    epoch: str
    offset: int


class SessionOut(Schema):
    """One live socket."""

    id: str
    kind: Kind
    user: str
    client_id: str
    node: str
    connected_at: float
    seen_at: float | None
    address: str
    agent: str
    acked: PositionOut | None
    acked_at: float | None
    sid: str = Field(..., description="The login that the session belongs to.")
    info: Any = Field(..., description="What its token shows to others.")

    @classmethod
    def of(cls, info: SessionInfo) -> SessionOut:
        acked = None
        if info.acked is not None:
            acked = PositionOut(epoch=info.acked.epoch, offset=info.acked.offset)
        return cls(
            id=info.id,
            kind=info.kind,
            user=info.user,
            client_id=info.client_id,
            node=info.node,
            connected_at=info.connected_at,
            seen_at=info.seen_at,
            address=info.address,
            agent=info.agent,
            acked=acked,
            acked_at=info.acked_at,
            sid=info.sid,
            info=info.info,
        )


class PresenceOut(Schema):
    """Presence of a user."""

    state: PresenceState
    online: bool
    last_seen: float | None
    sessions: list[SessionOut] = Field(description="The newest 100, newest first.")
    more: bool = Field(description="Whether there are more sessions than these.")

    @classmethod
    def of(cls, presence: UserPresence, **more: Any) -> Any:
        return cls(
            state=presence.state,
            online=presence.online,
            last_seen=presence.last_seen,
            sessions=[SessionOut.of(info) for info in newest(presence.sessions)],
            more=len(presence.sessions) > MAX_SHOWN,
            **more,
        )


class UserOut(PresenceOut):
    """A user."""

    user: str
    position: PositionOut


class PresenceIn(In):
    """The users to ask about."""

    users: list[UserId] = Field(..., max_length=MAX_ASKED, examples=[["42", "kim@example.com"]])


class PresencesOut(Schema):
    """Presence of each user, by user id."""

    partial: bool = Field(
        description="A shard of the store did not answer; its users are `unknown`."
    )
    users: dict[str, PresenceOut]


class StoredMessage(Schema):
    """A durable message as its stream keeps it."""

    offset: int
    id: str
    event: str
    data: Any = Field(None, description="Not there for a key without `messages`.")
    time: float
    size: int = Field(description="Bytes of the JSON of `id`, `event`, `data` and `time`.")


class MessagesOut(Schema):
    """A page of a stream: the messages after a position."""

    epoch: str
    head: int = Field(description="The offset of the newest message.")
    complete: bool = Field(
        description="False: older messages are gone, or belong to another epoch."
    )
    messages: list[StoredMessage]
    next: int | None = Field(
        description="The `offset` of the next page; null: this is the last one."
    )


class DeliveryOut(Schema):
    """What became of a message at one session."""

    session: str
    client_id: str
    node: str
    outcome: Outcome = Field(
        ..., description="`unknown`: too long ago, or its node is silent; never a guess."
    )
    sent_at: float | None = Field(..., description="When it was handed to the socket.")
    acked_at: float | None = Field(..., description="When the client said it has processed it.")

    @classmethod
    def of(cls, delivery: SessionDelivery) -> DeliveryOut:
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


class MessageFactsOut(Schema):
    """A message of a stream without its data; members are null or empty where they are not known
    any more."""

    epoch: str
    offset: int | None
    fate: Fate = Field(
        ...,
        description="Where it is now. `trimmed`: retention removed it, and only positions are "
        "known. `not_there`: there was none, or nothing that is kept has this id or key.",
    )
    id: str
    event: str
    at: float | None = Field(..., description="When it was appended.")
    size: int | None = Field(..., description="Bytes of its JSON.")
    idempotency_key: str
    collapse_key: str
    exclude_client: str
    expires_at: float | None
    replaced_by: int | None = Field(..., description="The offset of what has taken its place.")

    @classmethod
    def of(cls, facts: MessageFacts) -> MessageFactsOut:
        return cls(**{name: getattr(facts, name) for name in cls.model_fields})


class ClientDeliveryOut(Schema):
    """What became of a message for one client, connected or away."""

    client_id: str
    standing: Standing
    at: float | None = Field(
        ...,
        description="The time that belongs to `standing`: by then sent or acknowledged, as of then "
        "not acknowledged, then come back.",
    )
    as_of: float | None = Field(..., description="Until when this is known.")
    live: bool
    session: str
    node: str
    sent_at: float | None = Field(..., description="Where a live node still remembers it.")
    why: str = Field(
        ..., description="Of `unknown`: `not_there`, `epoch`, `before`, `lost` or `silent`."
    )

    @classmethod
    def of(cls, delivery: ClientDelivery) -> ClientDeliveryOut:
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


class StepOut(Schema):
    """One thing that happened."""

    code: StepCode
    at: float | None = Field(..., description="When; null: not known, or as it is now.")
    client_id: str
    session: str
    node: str
    values: dict[str, Any]

    @classmethod
    def of(cls, step: Step) -> StepOut:
        return cls(**{name: getattr(step, name) for name in cls.model_fields})


class DeliveriesOut(Schema):
    """What became of a message, and how that came about."""

    sessions: list[DeliveryOut] = Field(..., description="The live sessions, oldest first.")
    message: MessageFactsOut
    clients: list[ClientDeliveryOut] = Field(
        ..., description="The clients that are connected, then those that are away."
    )
    steps: list[StepOut] = Field(..., description="Oldest first; those without a time come last.")
    silent: list[str] = Field(..., description="Nodes that did not answer in time.")
    at: float

    @classmethod
    def of(cls, live: Iterable[SessionDelivery], found: Explanation) -> DeliveriesOut:
        return cls(
            sessions=[DeliveryOut.of(one) for one in live],
            message=MessageFactsOut.of(found.message),
            clients=[ClientDeliveryOut.of(one) for one in found.clients],
            steps=[StepOut.of(step) for step in found.steps],
            silent=found.silent,
            at=found.at,
        )


class LedgerEntryOut(Schema):
    """How far one client has come in its user's stream, as it was at `at`."""

    client_id: str
    epoch: str
    start: int = Field(..., description="All after this offset, up to `sent`, was sent.")
    sent: int
    acked: int | None
    acked_at: float | None
    at: float
    began: int = Field(..., description="Where its newest session began.")
    head: int = Field(..., description="The newest message there was then.")
    recovered: bool | None
    session: str
    node: str
    opened_at: float
    ended_at: float | None
    code: int | None
    reason: str
    live: bool

    @classmethod
    def of(cls, entry: LedgerEntry) -> LedgerEntryOut:
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


class LedgerOut(Schema):
    """The clients of a user, the last that was heard of first; at most 32."""

    clients: list[LedgerEntryOut]


class ForgottenOut(Schema):
    """What was removed of a user, and what stays."""

    closed: int
    unconfirmed: int
    messages: int
    clients: int
    state: bool
    rows: int
    blocked: bool = Field(..., description="A block stays until it ends or is lifted.")
    revoked: bool = Field(..., description="Revocations stay for their 30 days.")

    @classmethod
    def of(cls, done: Forgotten) -> ForgottenOut:
        return cls(**{name: getattr(done, name) for name in cls.model_fields})


class DisconnectedOut(Schema):
    """How many sockets are closed, and of how many the node did not confirm that in time."""

    closed: int
    unconfirmed: int

    @classmethod
    def of(cls, done: Disconnected) -> DisconnectedOut:
        return cls(closed=done.closed, unconfirmed=done.unconfirmed)


class RevocationIn(In):
    """What is revoked: all of a user, one login, or one token."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_ONE_PROOF)

    sid: ProofId | None = Field(None, description="Only this login.", examples=["login-7"])
    jti: ProofId | None = Field(None, description="Only this token; not together with `sid`.")
    before: Seconds | None = Field(
        None,
        ge=0,
        lt=253_402_300_800,
        description="Revoke what was issued before this time, in seconds since the epoch; "
        "null, or a time to come: before now.",
    )


class BlockIn(In):
    """How long a user is refused, and why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_ONE_END)

    until: Seconds | None = Field(
        None, ge=0, lt=253_402_300_800, description="Seconds since the epoch. Null: for ever."
    )
    seconds: Seconds | None = Field(
        None,
        gt=0,
        le=3_162_240_000,
        description="For so long by the gateway's clock; not together with `until`.",
    )
    reason: str = Field("this user is blocked", max_length=123)


class UnblockedOut(Schema):
    """Whether the user was blocked."""

    unblocked: bool


class SessionsOut(Schema):
    """A page of sessions, oldest first."""

    sessions: list[SessionOut]
    next: str | None = Field(..., description="The `cursor` of the next page; null: the last one.")


class NodeOut(Schema):
    """One gateway process."""

    name: str
    state: str
    host: str
    pid: int
    version: str
    started_at: float
    seen_at: float
    clients: int
    workers: int
    users: int
    cpu: float
    memory: int
    client_url: str
    worker_url: str

    @classmethod
    def of(cls, info: NodeInfo) -> NodeOut:
        return cls(**{name: getattr(info, name) for name in cls.model_fields})


class NodesOut(Schema):
    """The live nodes, by name."""

    nodes: list[NodeOut]


class TaskIn(In):
    """Work for one worker of a pool."""

    pool: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9._-]{1,64}$")] = Field(
        ..., examples=["image.convert"]
    )
    event: Event
    data: Any = None
    user: UserId | None = None
    progress_to_user: Flag = True
    timeout: Seconds | None = Field(
        None, gt=0, le=30 * 24 * 3600, description="Seconds that it may be silent."
    )
    task_id: Id | None = Field(None, description="A ULID of your own: the call may be repeated.")


class TaskOut(Schema):
    """A task at one moment."""

    id: str
    pool: str
    event: str
    state: TaskState
    worker: str
    user: str | None
    created: float
    started: float | None
    ended: float | None
    result: Any
    error: str

    @classmethod
    def of(cls, task: Task) -> TaskOut:
        return cls(**{name: getattr(task, name) for name in cls.model_fields})


class CancelledOut(Schema):
    """Whether the task was live."""

    cancelled: bool
