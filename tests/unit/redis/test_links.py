"""When all connections of a process to a server have to be made again."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from redis.asyncio.connection import Connection as AsyncConnection
from redis.exceptions import DataError

from sockets.redis import links as module
from sockets.redis.links import LinkedConnection, Links
from tests.support.doubles import until


class _Line:
    """Something that has to hear of it; `heard`: the generation that it was each time."""

    def __init__(self, links: Links) -> None:
        self.heard: list[int] = []
        self._links = links
        links.listen(self.dropped)

    def dropped(self, why: str) -> None:
        self.heard.append(self._links.generation)


class _Redis(AsyncConnection):
    """redis-py's own."""


@pytest.mark.parametrize(
    "words",
    [
        ("PING",),
        ("CONFIG GET", "maxmemory"),
        ("SET", "a", b"\r\n\x00", "PX", 10, 1.5, -3, 1e300, ""),
        (b"GET", "é한\u2028", memoryview(b"seen")),
        ("EVALSHA", "f" * 40, 2, *map(str, range(500)), b"x" * 100_000),
    ],
)
def test_a_command_is_packed_as_redis_py_does(words: tuple[Any, ...]) -> None:
    ours = LinkedConnection(links=Links()).pack_command(*words)
    assert b"".join(ours) == b"".join(_Redis().pack_command(*words))


def test_what_is_no_word_is_refused_as_redis_py_does() -> None:
    with pytest.raises(DataError, match="NoneType"):
        LinkedConnection(links=Links()).pack_command("SET", "a", None)


async def test_many_connections_to_one_old_primary_are_one_end() -> None:
    links = Links()
    line = _Line(links)
    for _ in range(5):
        links.end("ReadOnlyError", 0)
    assert (line.heard, links.generation) == ([1], 1)


async def test_who_came_back_to_the_old_primary_at_once_is_sent_away_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its name still meant the old one: a line that was made then would hear nothing of it."""
    monkeypatch.setattr(module, "AGAIN", 0.05)
    links = Links()
    line = _Line(links)
    links.end("ReadOnlyError", 0)
    links.end("ReadOnlyError", 1)
    links.end("ReadOnlyError", 1)
    assert line.heard == [1], "not at once"
    await until(lambda: line.heard == [1, 2])
    links.end("ReadOnlyError", 1)
    assert line.heard == [1, 2]


async def test_another_primary_ends_the_links_and_the_same_one_does_not() -> None:
    links = Links()
    line = _Line(links)
    for port in (1, 1, 1):
        links.found(("127.0.0.1", port))
    assert line.heard == [], "the first one is no other"
    links.found(("127.0.0.1", 2))
    assert (line.heard, links.generation) == ([1], 1)
    links.found(("127.0.0.1", 2))
    assert links.generation == 1


async def test_the_sentinels_are_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    links = Links()
    assert links.may_look()
    assert not links.may_look()
    await until(links.may_look)
    links.found(("127.0.0.1", 1))
    assert not links.may_look(), "whoever connects has just asked"


def test_a_forked_process_can_use_what_its_parent_made() -> None:
    """Another thread of the parent held the locks at that moment, or had links to end."""
    links = module.links_to("of-a-test:6379")
    links.found(("127.0.0.1", 1))
    with links._lock, links.epochs._lock:
        links._is_due = True
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)  # it would wait for ever
            links.epochs.is_current(1)
            links.found(("127.0.0.1", 2))
            os._exit(links.generation)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    links._is_due = False
