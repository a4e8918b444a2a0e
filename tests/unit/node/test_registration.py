"""A node among the others: its lives, its name, what it tells of itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sockets.cluster.registry import Beat
from sockets.conf import Conf
from sockets.delivery.hub import Hub
from sockets.exceptions import AlreadyRunning, GatewayUnavailable
from sockets.layers.memory import MemoryChannelLayer
from sockets.node.core import Addresses
from sockets.node.registration import Registration
from sockets.types import Kind, NodeInfo
from tests.support.doubles import MovedClock, local_session, node_info


@dataclass
class ScriptedNodes:
    """A registry that answers as told, and notes what it was told."""

    living: list[NodeInfo] = field(default_factory=list)
    answers: list[Beat | Exception] = field(default_factory=list)
    beats: list[tuple[NodeInfo, bool, float]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    async def beat(self, info: NodeInfo, *, begin: bool, silent: float) -> Beat:
        self.beats.append((info, begin, silent))
        answer = self.answers.pop(0) if self.answers else Beat(True)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def all(self) -> list[NodeInfo]:
        return self.living

    async def leave(self, life: str) -> None:
        self.left.append(life)


@dataclass
class ScriptedBus:
    """Somebody answers, or nobody."""

    answering: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, nodes: Any, **question: Any) -> dict[str, Any]:
        self.asked.append(question)
        return {"a": {}} if self.answering else {}


@dataclass
class NotingTracker:
    users: int = 3
    life: str = ""
    lives: list[str] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    checks: int = 0

    def taken_for_dead(self) -> None:
        self.life = ""

    async def begin(self, life: str) -> None:
        self.life = life
        self.lives.append(life)

    async def check(self) -> None:
        self.checks += 1

    def beat_succeeded(self, warm: float) -> None:
        self.warm.append(warm)


class Subject:
    def __init__(self) -> None:
        self.clock = MovedClock()
        self.nodes, self.bus = ScriptedNodes(), ScriptedBus()
        self.tracker = NotingTracker()
        self.hub = Hub(MemoryChannelLayer())
        self.reborn = 0
        self.names: list[str] = []
        self.failures: list[Exception] = []
        self.registration = Registration(
            conf=Conf(node_name="a"),
            nodes=self.nodes,  # type: ignore[arg-type]
            bus=self.bus,  # type: ignore[arg-type]
            hub=self.hub,
            tracker=self.tracker,  # type: ignore[arg-type]
            addresses=Addresses("ws://c/", "ws://w/"),
            state=lambda: "ready",
            reborn=self._reborn,
            renamed=self._renamed,
            clock=self.clock,
        )

    def _reborn(self) -> None:
        self.reborn += 1

    async def _renamed(self, name: str) -> None:
        if self.failures:
            raise self.failures.pop()
        assert not self.reborn, "all that bears the name is called so before it is written anew"
        self.names.append(name)


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    yield Subject()


async def test_it_tells_who_and_how_it_is(subject: Subject) -> None:
    subject.hub.add(local_session())
    subject.hub.add(local_session("w", kind=Kind.WORKER))
    told = subject.registration.describe()
    assert (told.name, told.clients, told.workers, told.users) == ("a", 1, 1, 3)
    assert told.id.startswith("a:") and told.memory > 10_000_000 and told.pid > 0
    assert (told.client_url, told.worker_url, told.state) == ("ws://c/", "ws://w/", "ready")
    assert told.cpu >= 0 and subject.registration.describe("stopped").state == "stopped"


async def test_a_life_begins_once_and_goes_on(subject: Subject) -> None:
    await subject.registration.begin()
    life = subject.registration.life
    subject.clock.advance(10)
    subject.nodes.answers = [Beat(True, 7.0)]
    await subject.registration.beat()
    assert [(begin, silent) for _, begin, silent in subject.nodes.beats] == [
        (True, 0.0),
        (False, 10.0),
    ]
    assert subject.tracker.lives == [life] and subject.tracker.warm == [0.0, 7.0]
    assert subject.tracker.checks == 1 and subject.reborn == 0


async def test_whoever_was_taken_for_dead_begins_anew(subject: Subject) -> None:
    await subject.registration.begin()
    first = subject.registration.life
    subject.clock.advance(60)
    subject.nodes.answers = [Beat(False), Beat(True)]
    await subject.registration.beat()
    second = subject.registration.life
    assert first != second and subject.tracker.lives == [first, second]
    assert subject.nodes.beats[-1][0].id == second and subject.nodes.beats[-1][1]
    assert subject.reborn == 1


async def test_what_came_late_in_the_name_of_a_former_life_is_left_to_the_others(
    subject: Subject,
) -> None:
    """They had cleared up after it, and calls that were on their way arrived after that."""
    await subject.registration.begin()
    before = subject.registration.life
    subject.nodes.answers = [Beat(False), Beat(True)]
    await subject.registration.beat()
    await subject.registration.beat()
    assert subject.nodes.left == [], "its last calls may still be on their way"
    subject.clock.advance(30)
    await subject.registration.beat()
    await subject.registration.beat()
    assert subject.nodes.left == [before]


async def test_whose_name_is_taken_goes_on_under_another(
    subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    await subject.registration.begin()
    subject.nodes.living = [node_info("a"), node_info("b")]
    subject.nodes.answers = [Beat(False), Beat(True)]
    subject.failures = [GatewayUnavailable("the bus is away")]
    with pytest.raises(GatewayUnavailable):
        await subject.registration.beat()
    assert subject.registration.name == "a" and len(subject.nodes.beats) == 2, "nothing has begun"
    subject.nodes.answers = []
    await subject.registration.beat()
    name = subject.registration.name
    assert re.fullmatch(r"a~[a-z0-9]{4}", name) and subject.names == [name]
    told, began, _ = subject.nodes.beats[-1]
    assert told.name == name and told.id == subject.registration.life and began
    assert told.id.startswith(f"{name}:") and subject.tracker.life == told.id
    assert subject.reborn == 1
    for _ in range(3):
        await subject.registration.beat()
    assert caplog.text.count(name) == 1, "it is logged once"


async def test_a_name_that_is_taken_too_is_not_kept(subject: Subject) -> None:
    await subject.registration.begin()
    subject.nodes.living = [node_info("a")]
    subject.nodes.answers = [Beat(False)]
    await subject.registration.beat()
    first = subject.registration.name
    subject.nodes.living = [node_info("a"), node_info(first)]
    subject.nodes.answers = [Beat(False)]
    subject.reborn = 0
    await subject.registration.beat()
    second = subject.registration.name
    assert second != first and second.startswith("a~") and len(second) == len(first)


async def test_a_new_life_that_could_not_begin_is_begun_by_the_next_beat(subject: Subject) -> None:
    await subject.registration.begin()
    first = subject.registration.life
    subject.nodes.answers = [Beat(False), GatewayUnavailable("away")]
    with pytest.raises(GatewayUnavailable):
        await subject.registration.beat()
    assert subject.tracker.lives == [first]
    assert subject.tracker.life == "", "nobody can arrive"
    await subject.registration.beat()
    assert subject.tracker.lives == [first, subject.registration.life]
    assert subject.reborn == 1


async def test_a_new_life_is_complete_before_it_counts(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry knew it, the answer was lost; then its users could not be listed."""
    await subject.registration.begin()
    first = subject.registration.life
    subject.nodes.answers = [Beat(False), GatewayUnavailable("the answer was lost")]
    with pytest.raises(GatewayUnavailable):
        await subject.registration.beat()
    second = subject.registration.life
    with monkeypatch.context() as away:

        async def fail(life: str) -> None:
            raise GatewayUnavailable("away")

        away.setattr(subject.tracker, "begin", fail)
        with pytest.raises(GatewayUnavailable):
            await subject.registration.beat()
    assert subject.reborn == 0
    await subject.registration.beat()
    assert subject.tracker.lives == [first, second] and subject.reborn == 1
    await subject.registration.beat()
    assert subject.nodes.beats[-1][1] is False and subject.reborn == 1


async def test_two_beats_at_once_are_one_new_life(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that drains tells how far it is, beside its renewals."""
    await subject.registration.begin()
    beat = subject.nodes.beat
    living: set[str] = set()

    async def slow(info: NodeInfo, *, begin: bool, silent: float) -> Beat:
        await asyncio.sleep(0)
        await beat(info, begin=begin, silent=silent)
        if begin:
            living.add(info.id)
        return Beat(info.id in living)

    monkeypatch.setattr(subject.nodes, "beat", slow)
    await asyncio.gather(subject.registration.beat(), subject.registration.beat())
    assert living == {subject.registration.life} and subject.reborn == 1


async def test_a_start_without_the_store_is_made_up_for_by_a_beat(subject: Subject) -> None:
    subject.nodes.answers = [GatewayUnavailable("away")]
    with pytest.raises(GatewayUnavailable):
        await subject.registration.begin()
    await subject.registration.beat()
    assert subject.tracker.lives == [subject.registration.life]
    assert subject.nodes.beats[-1][1], "it begins"


async def test_a_name_that_lives_elsewhere_is_refused_with_the_remedy(subject: Subject) -> None:
    subject.nodes.living = [node_info("a", pid=4711, host="other-machine"), node_info("b")]
    subject.bus.answering = True
    with pytest.raises(AlreadyRunning, match=r"4711 on other-machine .* NODE_NAME of its own"):
        await subject.registration.begin()
    assert subject.nodes.beats == []


async def test_a_name_whose_process_is_dead_is_free(subject: Subject) -> None:
    """Its lease has not run out yet; it does not answer."""
    subject.nodes.living = [node_info("a")]
    await subject.registration.begin()
    assert subject.bus.asked and len(subject.nodes.beats) == 1


async def test_names_of_others_are_not_asked(subject: Subject) -> None:
    subject.nodes.living = [node_info("b")]
    await subject.registration.begin()
    assert not subject.bus.asked


async def test_the_end_is_told_once(subject: Subject) -> None:
    await subject.registration.begin()
    for _ in range(2):
        await subject.registration.end()
    assert subject.nodes.left == [subject.registration.life]
    assert subject.nodes.beats[-1][0].state == "stopped"


async def test_after_the_end_it_is_never_registered_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rounds go on until the last row is written, which may take long."""
    await subject.registration.begin()
    leave = subject.nodes.leave
    meanwhile: list[asyncio.Future[None]] = []

    async def slow(life: str) -> None:
        meanwhile.append(asyncio.ensure_future(subject.registration.beat()))
        await asyncio.sleep(0.01)
        await leave(life)

    monkeypatch.setattr(subject.nodes, "leave", slow)
    await subject.registration.end()
    await asyncio.gather(*meanwhile)
    await subject.registration.beat()
    assert subject.nodes.beats[-1][0].state == "stopped"
