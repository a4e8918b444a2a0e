"""What the watch over both lines makes of what they say, with the time as an argument."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockets.layers import publisher
from sockets.layers.link import Link
from sockets.redis.links import Links


class NoServer:
    """A pool whose connections fail."""

    def make_connection(self) -> Any:
        raise OSError("nobody is there")


class Written:
    """Takes what is written, and notes that it is cut."""

    def __init__(self) -> None:
        self.transport = self
        self.cut = False

    def is_closing(self) -> bool:
        return self.cut

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        self.cut = True


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """Both of its lines seem to be up; the test looks at them."""
    made = Link(
        NoServer(),
        Links(),
        "prefix",
        on_message=lambda *_: None,
        on_ready=lambda _: None,
        interval=1.0,
        timeout=1.0,
    )
    made._watching.cancel()
    for line in (made.publisher.line, made.subscriber.line):
        await line.close()
        line._writer = Written()  # type: ignore[assignment]
        line.up = True
    yield made
    await made.close()


def cut(link: Link) -> list[bool]:
    """Whether the line for publishing was cut, and the other one."""
    writers: list[Any] = [link.publisher.line._writer, link.subscriber.line._writer]
    return [writer.cut for writer in writers]


def sung(link: Link) -> bool:
    """Whether a canary is on its way, or was."""
    return link._song is not None


async def test_a_canary_that_does_not_come_cuts_both_lines(link: Link) -> None:
    link._look_at_canary(0.0)
    assert link._song is not None
    link._song.set_result(None)  # Redis has it
    link._look_at_canary(2.9)
    assert cut(link) == [False, False]
    link._look_at_canary(3.0)
    assert cut(link) == [True, True]


async def test_a_canary_of_before_a_publishing_line_went_down_says_nothing(link: Link) -> None:
    line = link.publisher.line
    link.subscriber.line.heard_at = 9.0  # it is pinged, and answers
    link._look(0.0)
    assert link._song is not None
    link._song.set_result(None)
    line.up = False
    for now in (1.0, 3.0):
        link._look(now)
    assert cut(link) == [False, False]
    line.up = True
    link._look(3.5)
    assert cut(link) == [False, False], "another one is sung first"
    link._song.set_result(None)
    link._look(6.5)
    assert cut(link) == [True, True]


async def test_a_ping_over_the_line_of_before_says_nothing(link: Link) -> None:
    line = link.subscriber.line
    line.heard_at = -1.0
    link._look(0.0)
    line.up = False
    link._look(0.5)
    line.up = True
    link._look(1.5)
    assert cut(link) == [False, False], "another ping is sent first"
    link._look(2.5)
    assert cut(link)[1]


async def test_a_canary_that_could_not_be_sung_cuts_nothing(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crowded:
        crowded.setattr(publisher, "MAX_PUBLISHING", 0)
        link._look_at_canary(0.0)
        link._look_at_canary(3.0)
    assert not sung(link) and cut(link) == [False, False]
    link._look_at_canary(6.0)
    assert sung(link), "it is sung as soon as that is possible"
    link._look_at_canary(6.9)
    assert cut(link) == [False, False]
