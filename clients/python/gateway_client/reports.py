"""What the gateway tells operators, as plain values. Times are seconds since the Unix epoch.

Kinds, states and codes are strings, and members that this version does not know are skipped: a
newer gateway may say more. `silent`, wherever it is: nodes that did not answer in time, so that
what they know is missing.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from gateway_client.models import (
    AssignedTask,
    Node,
    PoolLoad,
    Position,
    Session,
    SessionDelivery,
)


class LiveSession(Session, frozen=True):
    """One live socket, as its own node sees it now.

    `health`: "healthy", "lagging", "slow", "in_grace", or "unknown": its node did not answer.
    `lag`: messages of its stream that it was not sent. `buffered`: bytes that wait to be written.
    `round_trip`: seconds of the last ping; None: none yet.
    """

    health: str = "unknown"
    lag: int = 0
    buffered: int = 0
    round_trip: float | None = None


class LiveSessions(Struct, frozen=True):
    """The first of the live sessions that were asked for; `matching`: how many of `total` fit."""

    sessions: tuple[LiveSession, ...]
    total: int
    matching: int
    silent: tuple[str, ...]
    at: float


class FrameHeader(Struct, frozen=True):
    """What a frame was, and never what it said. `inbound`: from the peer; `size`: in bytes."""

    number: int
    at: float
    inbound: bool
    type: str
    event: str
    size: int


class SessionReport(Struct, frozen=True):
    """One live session in full.

    `method`: how it proved who it is; `proof_ends`: None for a proof without an end. `head`: the
    newest message of its stream, `sent`: what it was sent up to. `buffers`: bytes, by what they
    wait for. `frames`: the newest, from the first question for them on.
    """

    session: LiveSession
    method: str
    proof_ends: float | None
    head: Position | None
    sent: Position | None
    buffers: dict[str, int]
    counters: dict[str, int]
    attached: tuple[str, ...] = ()
    frames: tuple[FrameHeader, ...] = ()


class Refusal(Struct, frozen=True):
    """Connections that got no welcome, `count` of them for one reason from one address.

    `since`, `at`: the first and the last. `code`: a close code, a status of HTTP, or 0: the
    connection was cut. `user`: who it said to be; "" where that is not known.
    """

    at: float
    since: float
    count: int
    node: str
    kind: str
    code: int
    reason: str
    address: str
    agent: str
    origin: str
    user: str = ""
    client_id: str = ""


class Refusals(Struct, frozen=True):
    """Who was refused in the last hour, the newest first.

    `forgotten`: connections that had no place any more; `more`: lines that are not among these.
    """

    refusals: tuple[Refusal, ...]
    forgotten: int
    more: int
    silent: tuple[str, ...]


class WorkerReport(Struct, frozen=True):
    """One live worker, `<key name>/<worker id>`. `held`: how many tasks it holds; `tasks`: the
    oldest of them."""

    worker: str
    session: Session | None
    node: str
    held: int
    pools: tuple[str, ...]
    capacity: int
    tasks: tuple[AssignedTask, ...]


class Workers(Struct, frozen=True):
    """The first 500 live workers of `total`, with the pools and tasks that the key may see.

    `ended`: the newest 100 ends, newest first, without results.
    """

    pools: tuple[PoolLoad, ...]
    workers: tuple[WorkerReport, ...]
    total: int
    ended: tuple[AssignedTask, ...]


class Sample(Struct, frozen=True):
    """What all nodes together counted in one step of time, which ended `at`.

    `closes`: by close code. `delivery_p50`, `delivery_p99`: seconds; None: nothing was delivered.
    """

    at: float
    sessions: int = 0
    users: int = 0
    workers: int = 0
    connects: int = 0
    closes: dict[str, int] = field(default_factory=dict)
    messages_in: int = 0
    messages_out: int = 0
    refusals: int = 0
    recovered: int = 0
    unrecovered: int = 0
    dropped: int = 0
    delivery_p50: float | None = None
    delivery_p99: float | None = None


class NodeReport(Struct, frozen=True):
    """One node. `lost`: it renews its lease no more. `redis`, `database`: what is wrong; "": well.

    For a key without the scope `admin` there is no host, pid and URL in `info`.
    """

    info: Node
    answered: bool
    lost: bool = False
    slow: int = 0
    lagging: int = 0
    in_grace: int = 0
    webhooks: int = 0
    loop_lag: float | None = None
    redis: str = ""
    database: str = ""


class Overview(Struct, frozen=True):
    """The gateway now, and its last hour: `samples`, `step` seconds apart, oldest first."""

    at: float
    sessions: int
    users: int
    workers: int
    nodes: tuple[NodeReport, ...]
    samples: tuple[Sample, ...]
    step: float
    silent: tuple[str, ...]
    unreachable: str = ""
    """Why Redis did not answer: then all this is of the node alone that was asked."""
    unreachable_since: float | None = None


class StreamHeader(Struct, frozen=True):
    """One message of a stream without its data. `size`: bytes of its JSON."""

    offset: int
    id: str
    event: str
    at: float
    size: int
    idempotency_key: str = ""


class Visit(Struct, frozen=True):
    """One session, as the database remembers it. `disconnected_at` None: no end was seen yet."""

    session: str
    client_id: str
    node: str
    address: str
    agent: str
    connected_at: float
    disconnected_at: float | None
    close_code: int | None
    close_reason: str


class UserReport(Struct, frozen=True):
    """What is known of one user.

    `workers`: those that are attached to the user. `blocked_until` None while `blocked`: for ever.
    `head`, `floor`: the newest offset of the stream, and the highest that retention removed.
    `live`, `stream` and `visits` begin with the newest.
    """

    user: str
    state: str
    online: bool
    last_seen: float | None
    live: tuple[LiveSession, ...]
    workers: tuple[Session, ...]
    tasks: tuple[AssignedTask, ...]
    blocked: bool
    blocked_until: float | None
    head: Position
    floor: int
    stream: tuple[StreamHeader, ...]
    visits: tuple[Visit, ...]
    silent: tuple[str, ...]


class TracedFrame(Struct, frozen=True):
    """One frame of a traced user. `body`: None where it is not shown."""

    session: str
    node: str
    header: FrameHeader
    body: str | None = None


class Trace(Struct, frozen=True):
    """What a trace has recorded. `next`: the `after` of the next `read_trace`. `dropped`: older
    frames that are kept no more. `by`: who began it."""

    user: str
    started_at: float
    until: float
    bodies: bool
    by: str
    frames: tuple[TracedFrame, ...]
    dropped: int
    next: str
    silent: tuple[str, ...]


class EndedTrace(Struct, frozen=True):
    """Whether there was a trace. `silent`: nodes that did not hear of its end, and may record on
    until it ends by itself."""

    ended: bool
    silent: tuple[str, ...] = ()


class MessageFacts(Struct, frozen=True):
    """One message of a stream without its data.

    `fate`: "kept", "trimmed", "replaced", "expired", "replaced_or_expired", "other_epoch" or
    "not_there". The rest is None or "" where it is not known any more.
    """

    epoch: str
    offset: int | None
    fate: str
    id: str = ""
    event: str = ""
    at: float | None = None
    size: int | None = None
    idempotency_key: str = ""
    collapse_key: str = ""
    exclude_client: str = ""
    expires_at: float | None = None
    replaced_by: int | None = None


class ClientDelivery(Struct, frozen=True):
    """What became of a message for one client, connected or away.

    `standing`: "acknowledged", "sent", "recovered", "not_acknowledged", "claimed", "excluded",
    "replaced_or_expired" or "unknown" (`why`), since or by `at`, and as far as is known `as_of`.
    """

    client_id: str
    standing: str
    at: float | None
    as_of: float | None
    live: bool
    session: str
    node: str
    sent_at: float | None = None
    why: str = ""


class Step(Struct, frozen=True):
    """One thing that happened to a message. `at` None: not known, or as it is now."""

    code: str
    at: float | None = None
    client_id: str = ""
    session: str = ""
    node: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class Explanation(Struct, frozen=True):
    """Why a message was, or was not, delivered. `sessions`: the live ones; `steps`: oldest first,
    those without a time last."""

    sessions: tuple[SessionDelivery, ...]
    message: MessageFacts
    clients: tuple[ClientDelivery, ...]
    steps: tuple[Step, ...]
    silent: tuple[str, ...]
    at: float


class LedgerEntry(Struct, frozen=True):
    """How far one client has come in its user's stream, as it was `at`.

    All after `start` and up to `sent` was sent; `acked`: what it says it has processed. `began`:
    where its newest session began, `head`: the newest message there was then.
    """

    client_id: str
    epoch: str
    start: int
    sent: int
    acked: int | None
    acked_at: float | None
    at: float
    began: int
    head: int
    recovered: bool | None
    session: str
    node: str
    opened_at: float
    ended_at: float | None = None
    code: int | None = None
    reason: str = ""
    live: bool = False


class Forgotten(Struct, frozen=True):
    """How much of a user was removed: sessions, messages, clients of the ledger, rows of history.

    A block and revocations stay: `blocked`, `revoked`.
    """

    closed: int
    unconfirmed: int
    messages: int
    clients: int
    state: bool
    rows: int
    blocked: bool
    revoked: bool
