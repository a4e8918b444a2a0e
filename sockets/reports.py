"""What operators are shown: reports of nodes, sessions, workers and refusals, as plain values.

Times are seconds since the Unix epoch (float). Whatever a list is cut to is said beside it, and a
node that did not answer in time is named: an operator must know what is not on the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sockets.types import Kind, NodeInfo, PoolLoad, Position, SessionInfo, Task, UserPresence


class Health(StrEnum):
    """How well a live session keeps up. Where more than one holds: slow, in grace, lagging."""

    HEALTHY = "healthy"
    LAGGING = "lagging"  # before the head of its stream
    SLOW = "slow"  # its peer does not read: what waits for it does not get less
    IN_GRACE = "in_grace"  # its proof has ended, and it may still renew it
    UNKNOWN = "unknown"  # presence knows the session, and its node did not answer


class Order(StrEnum):
    """By what a list of live sessions is sorted; a minus sign before it turns it round."""

    CONNECTED = "connected_at"
    USER = "user"
    LAG = "lag"
    BUFFERED = "buffered"
    ROUND_TRIP = "round_trip"


@dataclass(frozen=True, slots=True)
class LiveSession:
    """One live socket, as its own node sees it now.

    `lag`: messages of the stream that it was not sent. `buffered`: bytes that wait to be written
    to it. `round_trip`: seconds of the last ping; None: there was none yet.
    """

    info: SessionInfo
    health: Health
    lag: int = 0
    buffered: int = 0
    round_trip: float | None = None


@dataclass(frozen=True, slots=True)
class LiveSessions:
    """The first of the live sessions that were asked for.

    `total`: how many there are, `matching`: how many of them fit, both without those of `silent`:
    the nodes that did not answer in time. `at`: how old the oldest of it is; where a node has many
    sessions, and all have to be looked at, it finds the same for all who ask for a few seconds.
    """

    sessions: list[LiveSession]
    total: int
    matching: int
    silent: list[str]
    at: float


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One frame of a session that an operator looks at: what it was, never what it said.

    `number` counts from 1 for each session that is looked at. `inbound`: from the peer. `event`:
    "" for a frame without one. `size`: bytes on the wire, before compression.
    """

    number: int
    at: float
    inbound: bool
    type: str
    event: str
    size: int


@dataclass(frozen=True, slots=True)
class SessionReport:
    """One live session in full.

    `method`: how it proved who it is. `proof_ends`: when that ends; None: it has no end.
    `head`, `sent`: positions of its stream and of what it was sent; None for a worker.
    `buffers`: bytes by what they wait for: `outbox` (the socket), `opening` (the welcome).
    `counters`: what was counted since it connected: `frames_in`, `bytes_out`, `missed` (ephemeral
    messages that found no space since the last frame that told it so).
    `attached`: of a worker, the users whose messages it gets, at most 100.
    `frames`: the newest headers, oldest first; kept from the moment that somebody asks for them,
    and until 30 seconds after the last question.
    """

    session: LiveSession
    method: str
    proof_ends: float | None
    head: Position | None
    sent: Position | None
    buffers: Mapping[str, int]
    counters: Mapping[str, int]
    attached: list[str] = field(default_factory=list)
    frames: list[FrameHeader] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TracedFrame:
    """One frame of a traced user, of any of their sessions; never `connect` or `refresh`.

    `body`: its JSON, cut to 4,096 characters (`header.size` says how long it was); None where only
    headers are wanted, and for what a peer sent that is no message of the protocol.
    """

    session: str
    node: str
    header: FrameHeader
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace of one user, kept in memory by all nodes.

    `until`: when it ends by itself. `bodies`: whether they are recorded. `frames`: by time, the
    newest 200 at most. `dropped`: older ones that are kept no more. `next`: what the following
    `read_trace(after=…)` is given, to get only what is new.
    """

    user: str
    started_at: float
    until: float
    bodies: bool
    by: str
    frames: list[TracedFrame]
    dropped: int = 0
    next: str = ""
    silent: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EndedTrace:
    """What became of a trace that was to end. `ended`: whether a node had it.

    `silent`: nodes that did not answer in time; what they record may go on until the trace ends by
    itself.
    """

    ended: bool
    silent: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Connections that got no welcome: `count` of the same address, reason and so on are one line.

    `since`, `at`: of the first and the last of them. `code`: a close code (1000 and up) or a status
    of HTTP; 0: the connection was cut. `user`: who it said to be, "" where that is not known.
    """

    at: float
    since: float
    count: int
    node: str
    kind: Kind
    code: int
    reason: str
    address: str
    agent: str
    origin: str
    user: str = ""
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class TurnedAwayList:
    """Those of the last hour, newest first, as far as each node's ring holds them.

    `forgotten`: how many connections of the last hour had no place in a ring any more. `more`: how
    many lines there are beside these. `silent`: nodes that did not answer in time.
    """

    refusals: list[TurnedAway]
    forgotten: int
    more: int
    silent: list[str]


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One live worker. `worker`: "<key name>/<worker id>".

    `session`: None where presence does not know it (any more). `held`: how many tasks it holds,
    offered or running; `tasks`: the oldest of them.
    """

    worker: str
    session: SessionInfo | None
    node: str
    held: int
    pools: tuple[str, ...]
    capacity: int
    tasks: list[Task]


@dataclass(frozen=True, slots=True)
class WorkersReport:
    """The live workers, and the pools that they make.

    `workers`: the first 500 by name, with 500 tasks together; `total`: how many there are.
    `ended`: the newest 100 ends of tasks, newest first, without their results.
    """

    pools: list[PoolLoad]
    workers: list[WorkerReport]
    total: int
    ended: list[Task]


@dataclass(frozen=True, slots=True)
class Sample:
    """What all answering nodes together counted in one step of time.

    `at`: the end of the step. Counts are those of the step. `closes`: by close code. `messages_in`:
    frames from clients and workers; `messages_out`: messages handed to sessions. `refusals`: what
    got no welcome, or was refused before it was served. `recovered`, `unrecovered`: sessions that
    came back and got what they had missed, or have to reload. `dropped`: what was given up at a
    bound. `delivery_p50`, `delivery_p99`: seconds, from the nodes' histograms taken together; None:
    nothing was delivered. `sessions`, `users`, `workers`: at its end; a user of two nodes is two.
    """

    at: float
    sessions: int
    users: int
    workers: int
    connects: int
    closes: Mapping[str, int]
    messages_in: int
    messages_out: int
    refusals: int
    recovered: int
    unrecovered: int
    dropped: int
    delivery_p50: float | None
    delivery_p99: float | None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node. `answered`: it did, in time; else the rest is what it last said of itself.

    `lost`: it renews its lease no more: the process is gone, or cut off. It stays here for an hour,
    or until a node of its name is back. `slow`, `lagging`, `in_grace`: sessions by their health, as
    counted a few seconds ago. `webhooks`: events that wait for the API server. `loop_lag`: seconds
    that its event loop was late at worst in the last step. `redis`, `database`: "" is well, else
    what is wrong.
    """

    info: NodeInfo
    answered: bool
    lost: bool = False
    slow: int = 0
    lagging: int = 0
    in_grace: int = 0
    webhooks: int = 0
    loop_lag: float | None = None
    redis: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The gateway at one moment, and its last hour.

    `users`: by node, so that one who is at two nodes is two. `nodes`: by name. `step`: seconds
    between two of `samples`, which are oldest first and of the last hour at most; those of a step
    that not all nodes have told yet come later. `silent`: nodes that did not answer in time.

    `unreachable`: "" while Redis answers; else why it does not, since `unreachable_since`: then
    all of this is of the node that was asked, and nothing is known of the others.
    """

    at: float
    sessions: int
    users: int
    workers: int
    nodes: list[NodeReport]
    samples: list[Sample]
    step: float
    silent: list[str]
    unreachable: str = ""
    unreachable_since: float | None = None


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """One message of a stream without its data. `size`: bytes of its JSON."""

    offset: int
    id: str
    event: str
    at: float
    size: int
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """One session of the past or present, as the database remembers it.

    `disconnected_at` None: nobody has seen it close yet, which says nothing about now.
    """

    session: str
    client_id: str
    node: str
    address: str
    agent: str
    connected_at: float
    disconnected_at: float | None
    close_code: int | None
    close_reason: str


@dataclass(frozen=True, slots=True)
class UserReport:
    """All that is known of one user, but the ledger of deliveries.

    `live`: the newest 100 of their sessions, newest first. `workers`: those that are attached to
    the user. `tasks`: those for the user, of what `workers()` shows (500 tasks of the first 500
    workers, and the newest 100 ends), live ones first, without results.
    `blocked_until`: None for ever; `blocked` says whether. `stream`: headers of the newest 100
    messages that are kept, newest first; `floor`: the highest offset that retention removed.
    `visits`: the newest 50, newest first; empty where no history is kept. `silent`: nodes that did
    not answer in time.
    """

    user: str
    presence: UserPresence
    live: list[LiveSession]
    workers: list[SessionInfo]
    tasks: list[Task]
    blocked: bool
    blocked_until: float | None
    head: Position
    floor: int
    stream: list[StreamHeader]
    visits: list[Visit]
    silent: list[str]
