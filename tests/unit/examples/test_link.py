"""The worker's socket, against a gateway that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve

from examples.image_converter import link as link_module
from examples.image_converter.link import Rejected, WorkerLink

KEY = "secret"
Frame = dict[str, Any]


class ScriptedGateway:
    """Welcomes every worker, keeps what it gets, and does what `answer` says with it."""

    url: str

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()
        self.answer: Callable[[ServerConnection, Frame], Awaitable[None]] = self.confirm
        self.held: list[str] = []
        self.close_at_once: tuple[int, str] | None = None

    async def handle(self, socket: ServerConnection) -> None:
        if self.close_at_once:
            await socket.close(*self.close_at_once)
            return
        await socket.send(json.dumps({"type": "welcome", "node": "n", "tasks": self.held}))
        self.connections.append(socket)
        self.changed.set()
        async for text in socket:
            frame = json.loads(text)
            self.frames.append(frame)
            self.changed.set()
            if "ref" in frame:
                await self.answer(socket, frame)

    async def confirm(self, socket: ServerConnection, frame: Frame) -> None:
        await socket.send(json.dumps({"type": "reply", "ref": frame["ref"], "ok": True}))

    def refuse(self, code: str, *types: str) -> None:
        """From now on this is the answer to frames of these types."""

        async def answer(socket: ServerConnection, frame: Frame) -> None:
            if frame["type"] not in types:
                return await self.confirm(socket, frame)
            error = {"code": code, "message": "no"}
            reply = {"type": "reply", "ref": frame["ref"], "ok": False, "error": error}
            await socket.send(json.dumps(reply))

        self.answer = answer

    def hang_up_on(self, type: str, *, held: list[str]) -> None:
        """The first frame of this type gets no reply but a broken line."""

        async def answer(socket: ServerConnection, frame: Frame) -> None:
            if frame["type"] == type and len(self.connections) == 1:
                self.held = held
                await socket.close(1012)
            else:
                await self.confirm(socket, frame)

        self.answer = answer

    async def say(self, **frame: Any) -> None:
        await self.connections[-1].send(json.dumps(frame))

    async def offer(self, task: str) -> None:
        await self.say(type="task", task=task, offer=f"offer-{task}", data={"job": "j"})

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def sent(self, type: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type]


class Noting:
    """Hands that keep what they were told."""

    def __init__(self, gateway: ScriptedGateway) -> None:
        self.gateway = gateway
        self.accepts = True
        self.heard: list[tuple[str, ...]] = []

    def takes(self, offer: Frame) -> bool:
        return self.accepts

    def start(self, offer: Frame) -> None:
        self._note("start", offer["task"])

    def dropped(self, offer: Frame) -> None:
        self._note("dropped", offer["task"])

    def stop_task(self, task: str, reason: str) -> None:
        self._note("stop", task, reason)

    def _note(self, *what: str) -> None:
        self.heard.append(what)
        self.gateway.changed.set()

    async def hear(self, *expected: tuple[str, ...]) -> None:
        await self.gateway.until(lambda: len(self.heard) >= len(expected))
        assert self.heard == list(expected)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    scripted = ScriptedGateway()
    async with serve(scripted.handle, "127.0.0.1", 0, subprotocols=["gateway.v1"]) as server:  # type: ignore[list-item]
        scripted.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield scripted


@pytest.fixture
async def hands(gateway: ScriptedGateway) -> Noting:
    return Noting(gateway)


@pytest.fixture
async def link(
    gateway: ScriptedGateway, hands: Noting, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerLink]:
    monkeypatch.setattr(link_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(link_module, "RETRY_REPLY", 0.01)
    link = WorkerLink(gateway.url, KEY, name="test & co", pool="p.q", capacity=3)
    running = asyncio.create_task(link.run(hands))
    await gateway.until(lambda: bool(gateway.connections))
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def started(gateway: ScriptedGateway, hands: Noting, task: str) -> None:
    await gateway.offer(task)
    await hands.hear(("start", task))
    hands.heard.clear()


async def idle(link: WorkerLink) -> None:
    async with asyncio.timeout(10):
        await link.idle.wait()


async def test_the_handshake(gateway: ScriptedGateway, link: WorkerLink) -> None:
    request = gateway.connections[0].request
    assert request is not None
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert gateway.connections[0].subprotocol == "gateway.v1"
    address = urlsplit(request.path)
    assert address.path == "/ws/worker/"
    assert parse_qs(address.query) == {
        "worker_id": [link.worker_id], "name": ["test & co"], "pools": ["p.q"], "capacity": ["3"]
    }  # fmt: skip


async def test_a_path_in_the_address_is_kept() -> None:
    link = WorkerLink("ws://host/prefix/worker", KEY, name="n", pool="p", capacity=1, worker_id="W")
    assert link._url == "ws://host/prefix/worker?worker_id=W&name=n&pools=p&capacity=1"


async def test_pings_are_answered_and_unknown_types_do_not_matter(
    gateway: ScriptedGateway, link: WorkerLink
) -> None:
    await gateway.say(type="task.of.tomorrow")
    await gateway.say(type="ping")
    await gateway.until(lambda: {"type": "pong"} in gateway.frames)


async def test_it_starts_on_ok_only(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink
) -> None:
    await started(gateway, hands, "T1")
    (accept,) = gateway.sent("accept")
    assert (accept["task"], accept["offer"]) == ("T1", "offer-T1")
    gateway.refuse("task_lost", "accept")
    await gateway.offer("T2")
    await hands.hear(("dropped", "T2"))


async def test_what_is_not_taken_is_rejected(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink
) -> None:
    hands.accepts = False
    await gateway.offer("T1")
    await gateway.until(lambda: bool(gateway.sent("reject")))
    assert gateway.sent("reject")[0]["offer"] == "offer-T1"
    assert hands.heard == []


async def test_progress_and_done(gateway: ScriptedGateway, hands: Noting, link: WorkerLink) -> None:
    await started(gateway, hands, "T1")
    await link.progress("T1", {"percent": 5})
    await link.ended("T1", "done", data={"width": 3})
    assert not link.idle.is_set()
    await link.progress("T1", {"percent": 99})  # a thread's last word, too late
    await link.ended("T1", "failed", error="x")
    await idle(link)
    assert [frame["data"] for frame in gateway.sent("progress")] == [{"percent": 5}]
    assert [frame["data"] for frame in gateway.sent("done")] == [{"width": 3}]
    assert gateway.sent("failed") == []


@pytest.mark.parametrize("how", ["cancel", "progress"])
async def test_a_task_that_is_not_ours_any_more(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink, how: str
) -> None:
    await started(gateway, hands, "T1")
    if how == "cancel":
        await gateway.say(type="task.cancel", task="T1", reason="cancelled")
        await hands.hear(("stop", "T1", "cancelled"))
    else:
        gateway.refuse("task_lost", "progress")
        await link.progress("T1", {})
        await hands.hear(("stop", "T1", "lost"))
    await link.ended("T1", "done", data={})
    await link.progress("T1", {})
    assert link.idle.is_set()
    assert gateway.sent("done") == []


async def test_a_done_without_a_reply_is_said_again(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink
) -> None:
    await started(gateway, hands, "T1")
    gateway.hang_up_on("done", held=[])  # the gateway had understood it
    await link.ended("T1", "done", data=7)
    await idle(link)
    assert len(gateway.connections) == 2
    first, second = gateway.sent("done")
    assert first == second
    assert gateway.sent("release") == []


@pytest.mark.parametrize("outcome", ["done", "failed", "release"])
async def test_an_outcome_that_is_not_taken_is_final(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink, outcome: str
) -> None:
    await started(gateway, hands, "T1")
    gateway.refuse("task_lost", outcome)
    await link.ended("T1", outcome)
    await idle(link)
    assert len(gateway.sent(outcome)) == 1


async def test_an_outcome_that_cannot_be_taken_now_is_repeated(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink
) -> None:
    await started(gateway, hands, "T1")
    gateway.refuse("unavailable", "done")
    await link.ended("T1", "done", data=1)
    await gateway.until(lambda: len(gateway.sent("done")) >= 2)
    assert not link.idle.is_set()
    gateway.answer = gateway.confirm
    await idle(link)


@pytest.mark.parametrize("held", [True, False])
async def test_an_accept_without_a_reply(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink, held: bool
) -> None:
    gateway.hang_up_on("accept", held=["T1"] if held else [])
    await gateway.offer("T1")
    await hands.hear(("start" if held else "dropped", "T1"))
    assert gateway.sent("release") == []


async def test_after_a_break_both_sides_agree(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink
) -> None:
    """T1 is still ours, T2 was given to another, T9 is of a life that nobody remembers."""
    await started(gateway, hands, "T1")
    await started(gateway, hands, "T2")
    gateway.held = ["T1", "T9"]
    await gateway.connections[0].close(1012)
    await hands.hear(("stop", "T2", "lost"))
    await gateway.until(lambda: bool(gateway.sent("release")))
    await link.progress("T1", {"still": "here"})
    await gateway.until(lambda: bool(gateway.sent("progress")))
    await idle(link)
    assert [frame["task"] for frame in gateway.sent("release")] == ["T9"]


async def test_while_the_line_is_down_work_goes_on(
    gateway: ScriptedGateway, hands: Noting, link: WorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(gateway, hands, "T1")
    monkeypatch.setattr(
        "examples.image_converter.link.random.uniform", lambda low, high: 20
    )  # 0.2 s or more
    gateway.held = ["T1"]
    await gateway.connections[0].close(1012)
    async with asyncio.timeout(10):
        while link._socket is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await link.progress("T1", {})
    await link.ended("T1", "done", data=1)
    await idle(link)
    assert len(gateway.sent("done")) == 1
    assert gateway.sent("progress") == []


async def test_the_announced_pause_is_kept(
    gateway: ScriptedGateway, link: WorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr("examples.image_converter.link.asyncio.sleep", note)
    await gateway.say(type="closing", code=4000, reconnect_after=3.25)
    await gateway.connections[0].close(4000)
    async with asyncio.timeout(10):
        while not any(3 < pause <= 3.25 for pause in pauses):
            await real_sleep(0.01)


@pytest.mark.parametrize("code", [4501, 4503, 4504])
async def test_it_does_not_come_back_where_it_is_not_wanted(
    gateway: ScriptedGateway, hands: Noting, code: int
) -> None:
    gateway.close_at_once = (code, "because")
    link = WorkerLink(gateway.url, "wrong", name="n", pool="p", capacity=1)
    with pytest.raises(Rejected, match=f"{code}: because"):
        async with asyncio.timeout(10):
            await link.run(hands)
