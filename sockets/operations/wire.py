"""What goes between nodes when operators ask: questions and answers as JSON, in one member each.

A node of another version may know more members or fewer: what is unknown is passed over, and an
answer that cannot be read counts as none.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct

from sockets.cluster.bus import Bus
from sockets.layers.fanout import Message
from sockets.reports import Health, LiveSession, SessionReport, TracedFrame, TurnedAway
from sockets.types import Kind, SessionInfo

KIND = "operations"
"""How the types of these messages begin."""

ASK_TIMEOUT = 2.0
"""Seconds that a node gets to answer."""

T = TypeVar("T")


class Query(Struct, frozen=True, omit_defaults=True):
    """Which live sessions are looked for. `ids`: only these; `either`: or whose own id, or whose
    client id, it is. `born_after`, `born_before`: seconds since the epoch. `agent` in lower case.
    """

    order: str = "-connected_at"
    limit: int = 50
    kind: Kind | None = None
    health: Health | None = None
    address: str = ""
    agent: str = ""
    born_after: float | None = None
    born_before: float | None = None
    ids: frozenset[str] | None = None
    either: str = ""

    def fits(self, info: SessionInfo) -> bool:
        """Whether a session fits, but for its health."""
        return (
            (self.kind is None or info.kind is self.kind)
            and (self.ids is None or info.id in self.ids or self._is_either(info))
            and (not self.address or self.address in info.address)
            and (not self.agent or self.agent in info.agent.lower())
            and (self.born_after is None or info.connected_at >= self.born_after)
            and (self.born_before is None or info.connected_at <= self.born_before)
        )

    def _is_either(self, info: SessionInfo) -> bool:
        return bool(self.either) and self.either in (info.id, info.client_id)


class Found(Struct):
    """What one node found. `total`: how many sessions it has. `at`: when, seconds since the
    epoch."""

    sessions: list[LiveSession]
    total: int
    matching: int
    at: float = 0.0


class Step(Struct, omit_defaults=True):
    """What one node counted in one step; members as of `Sample`. `delivery`: how many deliveries
    took how long, for each of `metrics.DELIVERY_BOUNDS` and beyond."""

    at: float
    sessions: int = 0
    users: int = 0
    workers: int = 0
    connects: int = 0
    closes: dict[str, int] = {}
    messages_in: int = 0
    messages_out: int = 0
    refusals: int = 0
    recovered: int = 0
    unrecovered: int = 0
    dropped: int = 0
    delivery: list[int] = []


class Condition(Struct):
    """How one node is; members as of `NodeReport` and `NodeInfo`. `steps`: those that are new to
    whoever asks."""

    state: str
    clients: int
    workers: int
    users: int
    slow: int
    lagging: int
    in_grace: int
    webhooks: int
    loop_lag: float
    redis: str
    database: str
    steps: list[Step]


class Report(Struct):
    """One session, if it is here."""

    report: SessionReport | None


class Refused(Struct):
    """The refusals of one node."""

    lines: list[TurnedAway]
    more: int
    forgotten: int


class OfUser(Struct):
    """What one node has of a user. `attached`: workers that are attached to them."""

    live: list[LiveSession]
    attached: list[SessionInfo]


class TraceOrder(Struct, frozen=True):
    """A trace that is to be made. Times are seconds since the epoch."""

    user: str
    started_at: float
    until: float
    bodies: bool
    by: str


class TraceStarted(Struct):
    """Whether a node has space for a trace."""

    started: bool


class TracePart(Struct):
    """What one node has recorded. `order` None: it knows no trace of this user. `number`: of its
    last frame. `ended`: the last that has ended here, where there is none now."""

    order: TraceOrder | None
    frames: list[TracedFrame] = []
    dropped: int = 0
    number: int = 0
    ended: TraceOrder | None = None


class TraceEnded(Struct):
    """Whether there was a trace."""

    ended: bool


def body_of(value: Struct) -> bytes:
    """Return a question or an answer as it goes over the bus."""
    return msgspec.json.encode(value)


def read(message: Message, kind: type[T]) -> T:
    """Return what a message brings. Raises ValueError for what cannot be read."""
    body = message.get("body")
    if not isinstance(body, bytes | str):
        raise ValueError("it has no body")
    found: T = msgspec.json.decode(body, type=kind)
    return found


async def answer(bus: Bus, question: Message, value: Struct) -> None:
    """Answer a question."""
    await bus.answer(question, body=body_of(value))


async def answer_busy(bus: Bus, question: Message) -> None:
    """Answer that there is no answer: more is asked than this node should answer."""
    await bus.answer(question, busy=True)


def is_busy(message: Message) -> bool:
    """Whether a node has answered that it has no answer now."""
    return message.get("busy") is True


def without_bodies(frames: list[TracedFrame]) -> list[TracedFrame]:
    """Return frames without what they said."""
    return [TracedFrame(one.session, one.node, one.header) for one in frames]
