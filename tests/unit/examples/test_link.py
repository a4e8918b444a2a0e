"""The worker's socket, against a gateway that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from examples.image_converter import link as link_module
from examples.image_converter.link import Rejected, WorkerLink

KEY = "secret"
Frame = dict[str, Any]


class ScriptedGateway:
    """Welcomes every worker, keeps what it gets, and does what `on_notify` says with it."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()
        self.on_notify: Callable[[ServerConnection, Frame], Awaitable[None]] = self.confirm
        self.first_frames: list[Frame] = []
        self.close_at_once: tuple[int, str] | None = None

    async def handle(self, socket: ServerConnection) -> None:
        self.connections.append(socket)
        if self.close_at_once:
            await socket.close(*self.close_at_once)
            return
        await self.say(socket, type="welcome", session="s", worker="w", pools=[], node="n")
        for frame in self.first_frames:
            await self.say(socket, **frame)
        self.changed.set()
        async for text in socket:
            frame = json.loads(text)
            self.frames.append(frame)
            self.changed.set()
            if frame["type"] == "notify":
                await self.on_notify(socket, frame)

    async def confirm(self, socket: ServerConnection, frame: Frame) -> None:
        await self.say(socket, type="reply", ref=frame["ref"], ok=True, id="m")

    @staticmethod
    async def say(socket: ServerConnection, **frame: Any) -> None:
        await socket.send(json.dumps(frame))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def notified(self) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == "notify"]


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    scripted = ScriptedGateway()
    async with serve(scripted.handle, "127.0.0.1", 0, subprotocols=["gateway.v1"]) as server:
        scripted.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
        yield scripted


@pytest.fixture
async def link(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerLink]:
    monkeypatch.setattr(link_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(link_module, "RETRY_REPLY", 0.01)
    link = WorkerLink(gateway.url, KEY, name="test & co")  # type: ignore[attr-defined]
    running = asyncio.create_task(link.run())
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def idle(link: WorkerLink) -> None:
    async with asyncio.timeout(10):
        await link.idle.wait()


async def test_the_handshake(gateway: ScriptedGateway, link: WorkerLink) -> None:
    await gateway.until(lambda: bool(gateway.connections))
    request = gateway.connections[0].request
    assert request is not None
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.path == f"/ws/worker/?worker_id={link.worker_id}&name=test+%26+co"
    assert gateway.connections[0].subprotocol == "gateway.v1"


async def test_a_path_in_the_address_is_kept() -> None:
    link = WorkerLink("ws://host/prefix/worker", KEY, name="n", worker_id="W")
    assert link._url == "ws://host/prefix/worker?worker_id=W&name=n"


async def test_it_notifies(gateway: ScriptedGateway, link: WorkerLink) -> None:
    link.post("kim", "job.done", {"id": 7}, collapse_key="job:7")
    await idle(link)
    (frame,) = gateway.notified()
    ref = frame.pop("ref")
    assert frame == {
        "type": "notify", "user": "kim", "event": "job.done", "data": {"id": 7},
        "durable": True, "collapse_key": "job:7", "idempotency_key": ref,
    }  # fmt: skip


async def test_pings_are_answered_and_unknown_types_do_not_matter(
    gateway: ScriptedGateway, link: WorkerLink
) -> None:
    gateway.first_frames = [{"type": "task.of.tomorrow"}, {"type": "ping"}]
    await gateway.until(lambda: {"type": "pong"} in gateway.frames)


async def test_what_got_no_reply_is_repeated_under_the_same_key(
    gateway: ScriptedGateway, link: WorkerLink
) -> None:
    async def hang_up(socket: ServerConnection, frame: Frame) -> None:
        if len(gateway.connections) == 1:
            await socket.close(1012)
        else:
            await gateway.confirm(socket, frame)

    gateway.on_notify = hang_up
    for number in range(3):
        link.post("kim", f"event-{number}", number)
    await idle(link)
    assert len(gateway.connections) == 2
    by_key: dict[str, list[str]] = {}
    for frame in gateway.notified():
        by_key.setdefault(frame["idempotency_key"], []).append(frame["event"])
    assert [set(events) for events in by_key.values()] == [{f"event-{n}"} for n in range(3)]
    assert [frame["event"] for frame in gateway.notified()][-3:] == [
        "event-0", "event-1", "event-2"
    ]  # fmt: skip


async def test_what_the_gateway_cannot_take_now_is_repeated(
    gateway: ScriptedGateway, link: WorkerLink
) -> None:
    async def busy_once(socket: ServerConnection, frame: Frame) -> None:
        if len(gateway.notified()) > 1:
            return await gateway.confirm(socket, frame)
        error = {"code": "unavailable", "message": "later"}
        await gateway.say(socket, type="reply", ref=frame["ref"], ok=False, error=error)

    gateway.on_notify = busy_once
    link.post("kim", "job.done", {})
    await idle(link)
    first, second = gateway.notified()
    assert first == second


async def test_what_the_gateway_refuses_is_dropped(
    gateway: ScriptedGateway, link: WorkerLink, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(socket: ServerConnection, frame: Frame) -> None:
        error = {"code": "bad_message", "message": "no such thing"}
        await gateway.say(socket, type="reply", ref=frame["ref"], ok=False, error=error)

    gateway.on_notify = refuse
    link.post("kim", "job.done", {})
    await idle(link)
    assert len(gateway.notified()) == 1
    assert "no such thing" in caplog.text


async def test_outdated_progress_never_leaves() -> None:
    link = WorkerLink("ws://nowhere", KEY, name="n")
    for percent in range(100):
        link.post("kim", "job.progress", percent, collapse_key="job:1")
        link.post("lee", "job.progress", percent, collapse_key="job:1")
    waiting = [(w.frame["user"], w.frame["data"]) for w in link._waiting.values()]
    assert waiting == [("kim", 99), ("lee", 99)]


async def test_the_announced_pause_is_kept(
    gateway: ScriptedGateway, link: WorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(link_module.asyncio, "sleep", note)
    gateway.first_frames = [{"type": "closing", "code": 4000, "reconnect_after": 3.25}]
    await gateway.until(lambda: bool(gateway.connections))
    async with asyncio.timeout(10):
        await link.online.wait()
        await gateway.connections[0].close(4000)
        while 3.25 not in pauses:
            await real_sleep(0.01)


@pytest.mark.parametrize("code", [4501, 4503, 4504])
async def test_it_does_not_come_back_where_it_is_not_wanted(
    gateway: ScriptedGateway, code: int
) -> None:
    gateway.close_at_once = (code, "because")
    link = WorkerLink(gateway.url, "wrong", name="n")  # type: ignore[attr-defined]
    with pytest.raises(Rejected, match=f"{code}: because"):
        async with asyncio.timeout(10):
            await link.run()
