"""The outbox over ASGI `send`: bounded, in order, closed after what is queued, never stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockets.consumers.outbox import PumpOutbox
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from tests.support.patience import PATIENCE

LIMIT = 100


class Server:
    """The `send` of an ASGI server, which takes what it is given while its `gate` is open."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.given_up = asyncio.Event()
        self.drains = 0

    async def send(self, message: dict[str, Any]) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(message)

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if "text" in message]

    def count_drain(self) -> None:
        self.drains += 1


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def outbox(server: Server) -> AsyncIterator[PumpOutbox]:
    made = PumpOutbox(server.send, limit=LIMIT, close_timeout=0.05, on_give_up=server.given_up.set)
    made.on_drain = server.count_drain
    yield made
    server.gate.set()
    await made.finish()


def frame(text: str = "x", size: int = 0) -> Frame:
    return Frame(text.encode().ljust(size, b"."))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def test_frames_leave_in_order(server: Server, outbox: PumpOutbox) -> None:
    server.gate.clear()
    for n in range(5):
        assert outbox.write(frame(str(n))) is Write.OK
    await turns()
    assert server.sent == []
    server.gate.set()
    await turns()
    assert outbox.write(frame("last")) is Write.OK
    await turns()
    assert server.texts == ["0", "1", "2", "3", "4", "last"]
    assert server.sent[0] == {"type": "websocket.send", "text": "0"}


async def test_it_holds_its_limit_and_one_frame(server: Server, outbox: PumpOutbox) -> None:
    server.gate.clear()
    assert outbox.write(frame(size=LIMIT)) is Write.OK
    assert outbox.write(frame(size=1)) is Write.OK
    for _ in range(3):
        assert outbox.write(frame("refused")) is Write.FULL
    assert outbox.flow() == (LIMIT + 1, 0)
    server.gate.set()
    await turns()
    assert len(server.texts) == 2, "at FULL nothing was taken"
    assert server.drains == 1, "told once, however often it was full"
    assert outbox.flow() == (0, LIMIT + 1)
    assert outbox.write(frame()) is Write.OK


async def test_who_was_never_refused_is_told_nothing(server: Server, outbox: PumpOutbox) -> None:
    outbox.write(frame())
    await turns()
    assert server.texts and server.drains == 0


async def test_a_large_frame_fits_into_an_empty_one(server: Server, outbox: PumpOutbox) -> None:
    assert outbox.write(frame(size=50 * LIMIT)) is Write.OK
    await turns()
    assert len(server.texts[0]) == 50 * LIMIT


async def test_what_is_written_on_drain_is_sent(server: Server, outbox: PumpOutbox) -> None:
    server.gate.clear()
    outbox.on_drain = lambda: outbox.write(frame("from on_drain")) and None
    while outbox.write(frame(size=40)) is not Write.FULL:
        pass
    server.gate.set()
    await turns()
    assert server.texts[-1] == "from on_drain"


async def test_drained_bytes_grow_frame_by_frame(server: Server, outbox: PumpOutbox) -> None:
    """A slow reader makes progress; a stalled one does not (4002)."""
    taken = asyncio.Semaphore(0)

    async def one_at_a_time(message: dict[str, Any]) -> None:
        await taken.acquire()

    outbox._send = one_at_a_time
    for _ in range(3):
        outbox.write(frame(size=30))
    await turns()
    flows = [outbox.flow()]
    for _ in range(3):
        taken.release()
        await turns()
        flows.append(outbox.flow())
    assert flows == [(90, 0), (60, 30), (30, 60), (0, 90)]


async def test_close_goes_behind_what_is_queued(server: Server, outbox: PumpOutbox) -> None:
    server.gate.clear()
    outbox.write(frame("first"))
    outbox.close(4503, "replaced")
    outbox.close(1012, "too late")
    assert outbox.write(frame("after")) is Write.CLOSED
    server.gate.set()
    await turns()
    assert server.sent == [
        {"type": "websocket.send", "text": "first"},
        {"type": "websocket.close", "code": 4503, "reason": "replaced"},
    ]


@pytest.mark.parametrize("reason", ["x" * 500, "한" * 100])
async def test_a_reason_fits_into_a_close_frame(
    server: Server, outbox: PumpOutbox, reason: str
) -> None:
    """RFC 6455 section 5.5.1: 123 bytes. A server that is given more cannot close at all."""
    outbox.close(4504, reason)
    await turns()
    sent = server.sent[0]["reason"]
    assert 100 < len(sent.encode()) <= 123 and reason.startswith(sent)


async def test_a_server_that_does_not_take_the_close_is_given_up(
    server: Server, outbox: PumpOutbox
) -> None:
    server.gate.clear()
    outbox.write(frame())
    outbox.close(4002, "slow")
    assert not server.given_up.is_set()
    await soon(server.given_up)
    assert server.sent == []


async def test_abort_gives_up_at_once(server: Server, outbox: PumpOutbox) -> None:
    server.gate.clear()
    outbox.write(frame())
    outbox.abort()
    assert server.given_up.is_set()
    assert outbox.write(frame()) is Write.CLOSED


async def test_a_send_that_fails_closes_the_outbox_and_wakes_who_waits(
    server: Server, outbox: PumpOutbox
) -> None:
    server.gate.clear()
    while outbox.write(frame(size=40)) is not Write.FULL:
        pass
    server.error = OSError("the peer is gone")
    server.gate.set()
    await turns()
    assert server.drains == 1
    assert outbox.write(frame()) is Write.CLOSED


async def test_a_send_that_fails_ends_the_consumer(server: Server, outbox: PumpOutbox) -> None:
    """At the latest after `close_timeout`: a server whose `receive` stays silent must not keep it.

    (The docstring of PumpOutbox promises `on_give_up` for this.)
    """
    server.error = ValueError("the server refuses this frame")
    outbox.write(frame())
    async with asyncio.timeout(PATIENCE):
        await server.given_up.wait()


@pytest.mark.parametrize("closed", [True, False])
async def test_after_finish_nobody_is_given_up(server: Server, closed: bool) -> None:
    """What is given up is the consumer's task, and that has other things to clean up by then."""
    made = PumpOutbox(server.send, limit=LIMIT, close_timeout=0, on_give_up=server.given_up.set)
    if closed:
        made.close(1000, "")
    await made.finish()
    made.close(1000, "")
    await turns()
    assert not server.given_up.is_set()


async def test_finish_leaves_no_task_and_wakes_who_waits(server: Server) -> None:
    made = PumpOutbox(server.send, limit=LIMIT, close_timeout=5, on_give_up=server.given_up.set)
    made.on_drain = server.count_drain
    server.gate.clear()
    while made.write(frame(size=40)) is not Write.FULL:
        pass
    made.close(1000, "")
    await made.finish()
    await made.finish()
    assert server.drains == 1 and not server.given_up.is_set()
    assert made.write(frame()) is Write.CLOSED
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "PumpOutbox" in repr(task)]
