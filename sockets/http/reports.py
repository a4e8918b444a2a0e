"""What the HTTP API shows operators; members are those of `sockets.reports`."""

from __future__ import annotations

from typing import Any

from ninja import Field, Schema

from sockets.http.schemas import NodeOut, PositionOut, SessionOut, TaskOut
from sockets.reports import Health, LiveSession, UserReport
from sockets.types import Kind, PresenceState

SILENT = Field(description="Nodes that did not answer in time; what they know is missing here.")


class LiveSessionOut(SessionOut):
    """One live socket, as its own node sees it now."""

    health: Health = Field(description="`unknown`: its node did not answer.")
    lag: int = Field(description="Messages of its stream that it was not sent.")
    buffered: int = Field(description="Bytes that wait to be written to it.")
    round_trip: float | None = Field(description="Seconds of the last ping; null: none yet.")

    @classmethod
    def made_of(cls, live: LiveSession) -> LiveSessionOut:
        return cls(
            **SessionOut.of(live.info).dict(),
            health=live.health,
            lag=live.lag,
            buffered=live.buffered,
            round_trip=live.round_trip,
        )


class LiveSessionsOut(Schema):
    """The first of the live sessions that were asked for."""

    sessions: list[LiveSessionOut]
    total: int = Field(description="Live sessions of the nodes that answered.")
    matching: int = Field(description="How many of them fit.")
    silent: list[str] = SILENT
    at: float


class FrameHeaderOut(Schema):
    """What a frame was, and never what it said."""

    number: int
    at: float
    inbound: bool = Field(description="From the peer.")
    type: str
    event: str
    size: int = Field(description="Bytes, before compression.")


class SessionReportOut(Schema):
    """One live session in full."""

    session: LiveSessionOut
    method: str = Field(description="How it proved who it is.")
    proof_ends: float | None = Field(description="Null: it has no end.")
    head: PositionOut | None = Field(description="The newest message of its stream.")
    sent: PositionOut | None = Field(description="What it was sent up to.")
    buffers: dict[str, int] = Field(description="Bytes, by what they wait for.")
    counters: dict[str, int]
    attached: list[str] = Field(description="Of a worker: the users that it is attached to.")
    frames: list[FrameHeaderOut] = Field(
        description="The newest 200, kept from the first question for them on."
    )


class TurnedAwayOut(Schema):
    """Connections that got no welcome, for one reason, from one address."""

    at: float
    since: float
    count: int
    node: str
    kind: Kind
    code: int = Field(description="A close code, a status of HTTP, or 0: the connection was cut.")
    reason: str
    address: str
    agent: str
    origin: str
    user: str = Field(description="Who it said to be; empty where that is not known.")
    client_id: str


class RefusalsOut(Schema):
    """Who was refused in the last hour, the newest first."""

    refusals: list[TurnedAwayOut]
    forgotten: int = Field(description="Refusals that had no place any more.")
    more: int = Field(description="How many lines there are beside these.")
    silent: list[str] = SILENT


class PoolOut(Schema):
    """How full a pool is."""

    pool: str
    workers: int
    capacity: int
    held: int


class WorkerOut(Schema):
    """One live worker."""

    worker: str = Field(description="`<key name>/<worker id>`")
    session: SessionOut | None
    node: str
    held: int = Field(description="How many tasks it holds, offered or running.")
    pools: list[str]
    capacity: int
    tasks: list[TaskOut]


class WorkersOut(Schema):
    """The live workers, what they hold, and what ended last."""

    pools: list[PoolOut]
    workers: list[WorkerOut] = Field(description="The first 500, with 500 tasks together.")
    total: int
    ended: list[TaskOut] = Field(description="The newest 100, newest first.")


class SampleOut(Schema):
    """What all nodes together counted in one step of time."""

    at: float = Field(description="The end of the step.")
    sessions: int
    users: int
    workers: int
    connects: int
    closes: dict[str, int] = Field(description="By close code.")
    messages_in: int
    messages_out: int
    refusals: int
    recovered: int
    unrecovered: int
    dropped: int
    delivery_p50: float | None = Field(description="Seconds; null: nothing was delivered.")
    delivery_p99: float | None


class NodeReportOut(Schema):
    """One node."""

    info: NodeOut
    answered: bool
    lost: bool = Field(description="It renews its lease no more: it is gone, or cut off.")
    slow: int
    lagging: int
    in_grace: int
    webhooks: int = Field(description="Events that wait for the API server.")
    loop_lag: float | None
    redis: str = Field(description="What is wrong with Redis; empty: nothing.")
    database: str = Field(description="What is wrong with the database; empty: nothing.")


class OverviewOut(Schema):
    """The gateway now, and its last hour."""

    at: float
    sessions: int
    users: int
    workers: int
    nodes: list[NodeReportOut]
    samples: list[SampleOut] = Field(description="Oldest first.")
    step: float = Field(description="Seconds between two samples.")
    silent: list[str] = SILENT
    unreachable: str = Field(
        description="Why Redis does not answer, and then all of this is of one node; else empty."
    )
    unreachable_since: float | None


class StreamHeaderOut(Schema):
    """One message of a stream without its data."""

    offset: int
    id: str
    event: str
    at: float
    size: int
    idempotency_key: str


class VisitOut(Schema):
    """One session, as the database remembers it."""

    session: str
    client_id: str
    node: str
    address: str
    agent: str
    connected_at: float
    disconnected_at: float | None
    close_code: int | None
    close_reason: str


class UserReportOut(Schema):
    """What is known of one user."""

    user: str
    state: PresenceState
    online: bool
    last_seen: float | None
    live: list[LiveSessionOut]
    workers: list[SessionOut] = Field(description="Workers that are attached to the user.")
    tasks: list[TaskOut]
    blocked: bool
    blocked_until: float | None = Field(description="Null while `blocked`: for ever.")
    head: PositionOut
    floor: int = Field(description="The highest offset that retention removed.")
    stream: list[StreamHeaderOut] = Field(description="The newest 100, newest first.")
    visits: list[VisitOut] = Field(description="The newest 50, newest first.")
    silent: list[str] = SILENT

    @classmethod
    def made_of(cls, found: UserReport) -> UserReportOut:
        members: dict[str, Any] = {
            name: getattr(found, name) for name in cls.model_fields if hasattr(found, name)
        }
        presence = found.presence
        members |= {
            "state": presence.state,
            "online": presence.online,
            "last_seen": presence.last_seen,
            "live": [LiveSessionOut.made_of(one) for one in found.live],
            "workers": [SessionOut.of(one) for one in found.workers],
        }
        return cls(**members)


class TracedFrameOut(Schema):
    """One frame of a traced user."""

    session: str
    node: str
    header: FrameHeaderOut
    body: str | None = Field(description="At most 4,096 characters; null: it is not shown.")


class TraceOut(Schema):
    """What a trace has recorded."""

    user: str
    started_at: float
    until: float
    bodies: bool
    by: str
    frames: list[TracedFrameOut]
    dropped: int = Field(description="Older frames that are kept no more.")
    next: str = Field(description="The `after` of the next question.")
    silent: list[str] = SILENT


class EndedOut(Schema):
    """Whether there was a trace."""

    ended: bool
    silent: list[str] = Field(
        description="Nodes that did not answer in time; they may record on until its own end."
    )
