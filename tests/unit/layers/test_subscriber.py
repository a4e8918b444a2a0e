"""What the listening line makes of Redis' answers, in any order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockets.layers.subscriber import Subscriber


class NoServer:
    """A pool whose connections fail."""

    def make_connection(self) -> Any:
        raise OSError("nobody is there")


class Written:
    """Takes what is written."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.commands += data.split(b"\r\n")[2::5]


@pytest.fixture
async def listening() -> Subscriber:
    """It seems to be connected; the test plays Redis."""
    subscriber = Subscriber(NoServer(), lambda *_: None, lambda *_: None)
    await subscriber.line.close()
    subscriber.line.up = True
    subscriber.line._writer = Written()  # type: ignore[assignment]
    return subscriber


def confirm(subscriber: Subscriber, kind: bytes = b"subscribe") -> None:
    subscriber._on_reply([kind, b"c", 1])


async def test_joined_left_and_joined_again_waits_for_the_last_confirmation(
    listening: Subscriber,
) -> None:
    first = listening.subscribe("c")
    listening.unsubscribe("c")
    second = listening.subscribe("c")
    assert first is not None and first.done() and second is not None
    await asyncio.sleep(0)  # what a turn of the loop leaves is written at once
    assert listening.line._writer.commands == [  # type: ignore[union-attr]
        *(b"SUBSCRIBE", b"UNSUBSCRIBE", b"SUBSCRIBE")
    ]
    confirm(listening)
    confirm(listening, b"unsubscribe")
    assert not second.done(), "that was the first one's"
    confirm(listening)
    assert second.done() and listening.subscribe("c") is None


async def test_who_joins_meanwhile_waits_for_the_same_confirmation(listening: Subscriber) -> None:
    first, second = listening.subscribe("c"), listening.subscribe("c")
    assert first is second and first is not None
    confirm(listening)
    assert first.done()
