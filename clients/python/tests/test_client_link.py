"""The worker's socket, against a gateway that misbehaves on purpose; what is decided without one is
in the vectors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import Raw
from websockets.asyncio.server import ServerConnection, serve

from gateway_client import Rejected, Worker, link
from gateway_client.frames import Backoff, Frame
from gateway_client.link import Link

KEY = "secret"
ASKED = {"worker_id": "W", "name": "test & co", "pools": "p.q", "capacity": 3}
Told = dict[str, Any]


class ScriptedGateway:
    """Welcomes every worker, keeps what it gets, and does what `answer` says with it."""

    url: str

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.frames: list[Told] = []
        self.changed = asyncio.Event()
        self.answer: Callable[[ServerConnection, Told], Awaitable[None]] = self.confirm
        self.held: list[str] = []
        self.quiet: dict[str, bool] = {"quiet": True}
        self.close_at_once: tuple[int, str] | None = None

    async def handle(self, socket: ServerConnection) -> None:
        if self.close_at_once:
            await socket.close(*self.close_at_once)
            return
        welcome = {"type": "welcome", "node": "n", "tasks": self.held, **self.quiet}
        await socket.send(json.dumps(welcome))
        self.connections.append(socket)
        self.changed.set()
        async for text in socket:
            frame = json.loads(text)
            self.frames.append(frame)
            self.changed.set()
            if "ref" in frame:
                await self.answer(socket, frame)

    async def confirm(self, socket: ServerConnection, frame: Told) -> None:
        await socket.send(json.dumps({"type": "reply", "ref": frame["ref"], "ok": True}))

    def refuse(self, code: str, *types: str) -> None:
        """From now on this is the answer to frames of these types."""

        async def answer(socket: ServerConnection, frame: Told) -> None:
            if frame["type"] not in types:
                return await self.confirm(socket, frame)
            error = {"code": code, "message": "no"}
            reply = {"type": "reply", "ref": frame["ref"], "ok": False, "error": error}
            await socket.send(json.dumps(reply))

        self.answer = answer

    async def say(self, **frame: Any) -> None:
        await self.connections[-1].send(json.dumps(frame))

    async def offer(self, task: str) -> None:
        await self.say(type="task", task=task, offer=f"offer-{task}", data={"job": "j"})

    async def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(wait(), 10)

    def sent(self, type: str) -> list[Told]:
        return [frame for frame in self.frames if frame["type"] == type]


class Noting:
    """Hands that keep what they were told."""

    def __init__(self, gateway: ScriptedGateway) -> None:
        self.gateway = gateway
        self.heard: list[tuple[str, ...]] = []

    def takes(self, offer: Frame) -> bool:
        return True

    def start(self, offer: Frame) -> None:
        self._note("start", offer.task)

    def dropped(self, offer: Frame) -> None:
        self._note("dropped", offer.task)

    def lost(self, task: str, reason: str) -> None:
        self._note("lost", task, reason)

    def _note(self, *what: str) -> None:
        self.heard.append(what)
        self.gateway.changed.set()

    async def hear(self, *expected: tuple[str, ...]) -> None:
        await self.gateway.until(lambda: len(self.heard) >= len(expected))
        assert self.heard == list(expected)


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedGateway]:
    monkeypatch.setattr(Backoff, "first", 0.01)
    monkeypatch.setattr(link, "AGAIN", 0.01)
    scripted = ScriptedGateway()
    async with serve(scripted.handle, "127.0.0.1", 0, subprotocols=["gateway.v1"]) as server:  # type: ignore[list-item]
        scripted.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield scripted


@pytest.fixture
async def hands(gateway: ScriptedGateway) -> Noting:
    return Noting(gateway)


@pytest.fixture
async def line(gateway: ScriptedGateway, hands: Noting) -> AsyncIterator[Link]:
    made = Link(gateway.url, KEY, ASKED, hands=hands, buffer=10)
    running = asyncio.create_task(made.run())
    await gateway.until(lambda: bool(gateway.connections))
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def started(gateway: ScriptedGateway, hands: Noting, task: str) -> None:
    await gateway.offer(task)
    await hands.hear(("start", task))
    hands.heard.clear()


async def test_a_task_that_was_offered_twice_begins_once(
    gateway: ScriptedGateway, hands: Noting, line: Link
) -> None:
    async def silence(socket: ServerConnection, frame: Told) -> None:
        """The replies to both are lost."""

    gateway.answer = silence
    for offer in ("first", "second"):
        await gateway.say(type="task", task="t", offer=offer, data={})
    await gateway.until(lambda: len(gateway.sent("accept")) == 2)
    gateway.held = ["t"]
    await gateway.connections[-1].close(1012)
    await hands.hear(("start", "t"), ("dropped", "t"))


async def idle(line: Link) -> None:
    async def wait() -> None:
        while not line.idle:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 10)


async def test_answers_that_find_no_space_are_counted_and_told_once(
    hands: Noting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The newest are the ones that somebody still waits for."""
    monkeypatch.setattr(link, "MAX_ANSWERS", 2)
    worker = Worker("ws://host", KEY, pools={"p": 1})
    assert worker.answers_dropped == 0
    made = worker._link()
    made._hands = hands
    for offer in "abcd":
        made._received(Frame("task", task="t", offer=offer))
    assert [json.loads(text)["offer"] for text in made._texts()] == ["c", "d"]
    assert worker.answers_dropped == made.answers_dropped == 2
    assert caplog.text.count("reads too slowly") == 1


async def test_the_handshake(gateway: ScriptedGateway, line: Link) -> None:
    request = gateway.connections[0].request
    assert request is not None
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert gateway.connections[0].subprotocol == "gateway.v1"
    address = urlsplit(request.path)
    assert address.path == "/ws/worker/"
    assert parse_qs(address.query) == {name: [str(value)] for name, value in ASKED.items()}


async def test_a_path_in_the_address_is_kept(hands: Noting) -> None:
    made = Link("wss://host/prefix/worker", KEY, {"name": "n"}, hands=hands, buffer=1)
    assert made._url == "wss://host/prefix/worker?name=n"


async def test_progress_and_done(gateway: ScriptedGateway, hands: Noting, line: Link) -> None:
    await started(gateway, hands, "T1")
    line.progress("T1", Raw(b'{"percent":5}'))
    await gateway.until(lambda: bool(gateway.sent("progress")))
    line.progress("T1", Raw(b"6"))
    line.progress("T1", Raw(b"7"))
    line.progress("T1")  # a sign of life replaces nothing
    await gateway.until(lambda: len(gateway.sent("progress")) == 2)
    line.ended("T1", "done", data=Raw(b'{"width":3}'))
    assert not line.idle
    line.progress("T1", Raw(b"99"))  # a thread's last word, too late
    line.ended("T1", "failed", error="x")
    await idle(line)
    assert [frame["data"] for frame in gateway.sent("progress")] == [{"percent": 5}, 7]
    assert [frame["data"] for frame in gateway.sent("done")] == [{"width": 3}]
    assert gateway.sent("failed") == []


async def test_a_sign_of_life_has_no_data(
    gateway: ScriptedGateway, hands: Noting, line: Link
) -> None:
    await started(gateway, hands, "T1")
    line.progress("T1")
    await gateway.until(lambda: bool(gateway.sent("progress")))
    assert "data" not in gateway.sent("progress")[0]


async def test_a_gateway_that_tells_null_is_given_what_was_told_last(
    gateway: ScriptedGateway, hands: Noting, line: Link
) -> None:
    """Of 0.2: a user saw each sign of life as progress null."""
    gateway.quiet = {}
    await gateway.connections[-1].close(1012)
    await gateway.until(lambda: len(gateway.connections) == 2)
    await started(gateway, hands, "T1")
    for count, known in enumerate((b"", b'{"percent":5}'), 1):
        line.progress("T1", known=known)
        await gateway.until(lambda count=count: len(gateway.sent("progress")) == count)  # type: ignore[misc]
    assert [frame["data"] for frame in gateway.sent("progress")] == [{}, {"percent": 5}]


async def test_a_task_that_is_not_ours_any_more(
    gateway: ScriptedGateway, hands: Noting, line: Link
) -> None:
    await started(gateway, hands, "T1")
    gateway.refuse("task_lost", "progress")
    line.progress("T1", Raw(b"1"))
    await hands.hear(("lost", "T1", "lost"))
    line.ended("T1", "done", data=Raw(b"1"))
    assert line.idle and gateway.sent("done") == []


@pytest.mark.parametrize("outcome", ["done", "failed", "release"])
async def test_an_outcome_that_is_not_taken_is_final(
    gateway: ScriptedGateway, hands: Noting, line: Link, outcome: str
) -> None:
    await started(gateway, hands, "T1")
    gateway.refuse("task_lost", outcome)
    line.ended("T1", outcome)
    await idle(line)
    assert len(gateway.sent(outcome)) == 1


async def test_a_result_that_is_too_large_fails_its_task(
    gateway: ScriptedGateway, hands: Noting, line: Link
) -> None:
    await started(gateway, hands, "T1")
    gateway.refuse("too_large", "done")
    line.ended("T1", "done", data=Raw(b'"large"'))
    await idle(line)
    (failed,) = gateway.sent("failed")
    assert failed["error"] == "the result cannot be sent: no"


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
async def test_an_outcome_that_cannot_be_taken_now_is_repeated(
    gateway: ScriptedGateway, hands: Noting, line: Link, code: str
) -> None:
    await started(gateway, hands, "T1")
    gateway.refuse(code, "done")
    line.ended("T1", "done", data=Raw(b"1"))
    await gateway.until(lambda: len(gateway.sent("done")) >= 2)
    assert not line.idle
    gateway.answer = gateway.confirm
    await idle(line)


@pytest.mark.parametrize("held", [True, False])
async def test_an_accept_of_which_nobody_knows_whether_it_was_taken(
    gateway: ScriptedGateway, hands: Noting, line: Link, held: bool
) -> None:
    """It is never said again: a second one is `task_lost` for the holder, too."""
    gateway.refuse("unavailable", "accept")
    if not held:
        confirm, refuse = gateway.answer, gateway.refuse

        async def answer(socket: ServerConnection, frame: Told) -> None:
            await confirm(socket, frame)
            refuse("task_lost", "progress")

        gateway.answer = answer
    await gateway.offer("T1")
    await hands.hear(("start" if held else "dropped", "T1"))
    assert len(gateway.sent("accept")) == 1


async def test_a_reason_is_cut(gateway: ScriptedGateway, hands: Noting, line: Link) -> None:
    await started(gateway, hands, "T1")
    line.ended("T1", "failed", error="x" * 5_000)
    await idle(line)
    assert len(gateway.sent("failed")[0]["error"]) == 1_000


async def test_while_the_line_is_down_work_goes_on(
    gateway: ScriptedGateway, hands: Noting, line: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(gateway, hands, "T1")
    monkeypatch.setattr("gateway_client.frames.random.uniform", lambda low, high: 20)  # 0.2 s
    gateway.held = ["T1"]
    await gateway.connections[0].close(1012)
    await asyncio.wait_for(_away(line), 10)
    line.progress("T1", Raw(b"1"))
    line.ended("T1", "done", data=Raw(b"1"))
    await idle(line)
    assert len(gateway.sent("done")) == 1 and gateway.sent("progress") == []


async def _away(line: Link) -> None:
    while line.node:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("code", [4501, 4503, 4504])
async def test_it_does_not_come_back_where_it_is_not_wanted(
    gateway: ScriptedGateway, hands: Noting, code: int
) -> None:
    gateway.close_at_once = (code, "because")
    made = Link(gateway.url, "wrong", ASKED, hands=hands, buffer=1)
    with pytest.raises(Rejected, match=f"{code}: because") as caught:
        await asyncio.wait_for(made.run(), 10)
    assert caught.value.close_code == code and "wrong" not in str(caught.value)


async def test_it_ends_where_no_gateway_is(hands: Noting) -> None:
    async def refuse(socket: ServerConnection, request: Any) -> Any:
        return socket.respond(404, "")

    handle = ScriptedGateway().handle
    async with serve(handle, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        made = Link(url, KEY, ASKED, hands=hands, buffer=1)
        with pytest.raises(Rejected, match="HTTP 404"):
            await asyncio.wait_for(made.run(), 10)
