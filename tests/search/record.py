"""What a run has seen, for the oracle. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.search.faults import May

EVER = float("inf")


@dataclass
class Window:
    """A fault as it was done, and until when its traces are allowed."""

    kind: str
    target: int
    may: frozenset[May]
    back: float
    began: float
    ended: float = EVER

    def covers(self, began: float, ended: float) -> bool:
        return self.began - 0.2 <= ended and began <= self.ended + self.back


@dataclass
class Call:
    """One durable message and what became of each attempt to send it.

    An outcome is `ok`, `nothing`, `unknown`, `unavailable` (which says no outcome), `no answer`,
    or the text of what must not be.
    """

    number: int
    user: str
    door: str
    began: float
    ended: float = EVER
    outcomes: list[tuple[float, str]] = field(default_factory=list)
    epoch: str = ""
    offset: int = 0

    @property
    def acked(self) -> bool:
        return bool(self.outcomes) and self.outcomes[-1][1] == "ok"

    @property
    def surely_nothing(self) -> bool:
        return bool(self.outcomes) and all(word == "nothing" for _, word in self.outcomes)


@dataclass
class Heard:
    """What one session heard."""

    name: str
    user: str
    proxied: bool = False
    """The API server is asked who it is."""
    messages: list[tuple[float, int]] = field(default_factory=list)
    """When, and the number of the message."""
    told: list[float] = field(default_factory=list)
    """When it was told that something is lost."""
    closes: list[tuple[float, int, int]] = field(default_factory=list)
    """When, at which node, with which code (1006: without one)."""
    wrong: list[tuple[float, str, str]] = field(default_factory=list)
    """When, and what is wrong by itself: a gap, a double."""
    lives: list[tuple[float, float, int]] = field(default_factory=list)
    """From its welcome to its end, by its own knowledge, and at which node."""
    task_ends: list[tuple[float, str, str]] = field(default_factory=list)


@dataclass
class Job:
    """A task that was given."""

    id: str
    user: str
    began: float
    status: int = 0
    detail: str = ""


@dataclass
class Probe:
    """What a balancer and a newcomer saw of a node at the same time. `code` 0: welcomed."""

    at: float
    node: int
    ready: int
    code: int


@dataclass
class Question:
    """What a node said of a user's presence, between two moments."""

    began: float
    ended: float
    node: int
    user: str
    state: str


@dataclass
class Record:
    """All of one run."""

    windows: list[Window] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    streams: dict[str, set[int]] = field(default_factory=dict)
    """By user, the numbers that were ever found in the stream."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Presence events in order of arrival, repetitions left out."""
    truth: dict[str, bool] = field(default_factory=dict)
    """Who was connected at the end."""
    jobs: list[Job] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    """Tasks as the receivers of the signals were given them."""
    probes: list[Probe] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    two_primaries: list[tuple[float, float]] = field(default_factory=list)
    """From a replica's promotion until its callers could know of it: what the old primary takes
    meanwhile is lost (docs/delivery-guarantees.md, *A store that goes back in time*)."""
    notes: list[tuple[float, str, str]] = field(default_factory=list)
    """What the runner itself found: when, kind, text."""

    def allowed(self, may: May | Iterable[May], began: float, ended: float | None = None) -> bool:
        """Whether a fault of about that time lets one of these be seen."""
        some = {may} if isinstance(may, May) else set(may)
        end = began if ended is None else ended
        return any(w.may & some and w.covers(began, end) for w in self.windows)

    def ever(self, may: May, until: float = EVER) -> bool:
        """Whether any fault that began before then lets this be seen."""
        return any(may in w.may and w.began <= until for w in self.windows)
