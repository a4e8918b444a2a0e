"""Scripts on a server that forgets them, refuses, or says nothing; no server is needed for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis import RedisCluster as SyncRedisCluster
from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError, TimeoutError

from sockets.exceptions import GatewayUnavailable
from sockets.redis import scripts
from sockets.redis.errors import translated
from sockets.redis.scripts import BATCH, Script, batches

ASK = Script("sockets.redis", "guard", asks=True)
"""Any text: it is never run."""


class Server:
    """What both kinds of clients do here: answers are taken from `answers`, one a call.

    `sent`: the keys of each call of a script, round trip by round trip.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[str]] = []
        self.loaded: list[str] = []

    def next(self) -> Any:
        return self.answers.pop(0) if self.answers else b"OK"

    def one(self, key: str) -> Any:
        self.sent.append([key])
        answer = self.next()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def many(self, keys: list[str]) -> list[Any]:
        self.sent.append(keys)
        return [self.next() for _ in keys]


class Pipe:
    """Both kinds of pipelines; `asynchronous`: what it executes is promised."""

    def __init__(self, server: Server, asynchronous: bool) -> None:
        self._server, self._asynchronous = server, asynchronous
        self._keys: list[str] = []

    def evalsha(self, sha: str, count: int, key: str) -> None:
        self._keys.append(key)

    def execute(self, raise_on_error: bool) -> Any:
        found = self._server.many(self._keys)
        return promised(found) if self._asynchronous else found


async def promised(value: Any) -> Any:
    return value


class Client:
    """One client in both kinds. What it is asked for goes to its server."""

    asynchronous = True

    def __init__(self, server: Server) -> None:
        self.server = server

    def _answer(self, key: str) -> Any:
        if not self.asynchronous:
            return self.server.one(key)

        async def answer() -> Any:
            return self.server.one(key)

        return answer()

    def evalsha(self, sha: str, count: int, key: str) -> Any:
        return self._answer(key)

    def eval(self, text: str, count: int, key: str) -> Any:
        self.server.loaded.append(text)
        return self._answer(key)

    def script_load(self, text: str) -> Any:
        self.server.loaded.append(text)
        return promised(None) if self.asynchronous else None

    def pipeline(self, transaction: bool) -> Pipe:
        assert not transaction
        return Pipe(self.server, self.asynchronous)


class SyncClient(Client):
    asynchronous = False


class Node:
    def __init__(self, name: str) -> None:
        self.name = name


def of_cluster(kind: type[Client], theirs: Any) -> Any:
    """That kind as a client of a Cluster. Keys are on the shard that their first letter names."""

    def shard(self: object, key: str, *_: Any, **__: Any) -> Node:
        return Node(key[0])

    name, bases = f"Cluster{kind.__name__}", (kind, theirs)
    return type(name, bases, {"get_node_from_key": shard, "__del__": lambda self: None})


ClusterClient = of_cluster(Client, RedisCluster)
SyncClusterClient = of_cluster(SyncClient, SyncRedisCluster)


def calls(*keys: str) -> list[tuple[Sequence[str], Sequence[Any]]]:
    return [([key], []) for key in keys]


def do(kind: type[Client], server: Server | Client, what: str, given: Any) -> Any:
    """The call of that name: awaited, or that for threads."""
    client = kind(server) if isinstance(server, Server) else server
    if kind.asynchronous:
        return asyncio.run(getattr(ASK, what)(client, given))
    return getattr(ASK, f"{what}_sync")(client, given)


both = pytest.mark.parametrize("kind", [Client, SyncClient])
clusters = pytest.mark.parametrize("kind", [ClusterClient, SyncClusterClient])


@pytest.fixture(autouse=True)
def nobody_is_silent() -> Iterator[None]:
    yield
    scripts._silent.clear()


def test_many_are_sent_in_batches() -> None:
    assert [len(part) for part in batches(range(BATCH * 2 + 1))] == [BATCH, BATCH, 1]
    assert list(batches([])) == []


@both
def test_a_script_goes_whole_only_to_a_server_that_does_not_know_it(kind: type[Client]) -> None:
    server = Server(b"1", NoScriptError("who"), b"2")
    (call,) = calls("k")
    assert do(kind, server, "run", call) == b"1" and server.loaded == []
    assert do(kind, server, "run", call) == b"2" and server.loaded == [ASK._text]


@both
def test_many_are_one_round_trip(kind: type[Client]) -> None:
    server = Server(b"1", b"2")
    assert do(kind, server, "run_many", calls("a", "b")) == [b"1", b"2"]
    assert server.sent == [["a", "b"]]


@both
def test_many_go_again_when_the_server_did_not_know_the_script(kind: type[Client]) -> None:
    server = Server(b"1", NoScriptError("who"), b"3", b"4")
    assert do(kind, server, "run_many", calls("a", "b")) == [b"3", b"4"]
    assert server.loaded == [ASK._text] and server.sent == [["a", "b"]] * 2


@both
def test_only_what_a_replica_refused_goes_again(kind: type[Client]) -> None:
    server = Server(b"1", ReadOnlyError("no"), b"3", b"2")
    assert do(kind, server, "run_many", calls("a", "b", "c")) == [b"1", b"2", b"3"]
    assert server.sent == [["a", "b", "c"], ["b"]]


@both
@pytest.mark.parametrize(("first", "outcome"), [(b"1", "unknown"), (ResponseError(), "nothing")])
def test_the_error_of_one_is_raised_and_others_may_be_done(
    kind: type[Client], first: Any, outcome: str
) -> None:
    with pytest.raises(GatewayUnavailable) as caught, translated(writes=True):
        do(kind, Server(first, ResponseError("OOM")), "run_many", calls("a", "b"))
    assert caught.value.outcome == outcome


@both
def test_of_each_the_error_takes_the_place_of_the_answer(kind: type[Client]) -> None:
    error = ResponseError("WRONGTYPE")
    server = Server(b"1", error, b"3")
    assert do(kind, server, "run_each", calls("a", "b", "c")) == [b"1", error, b"3"]


@clusters
def test_on_a_cluster_they_go_one_by_one_and_what_was_done_is_noted(kind: type[Client]) -> None:
    server = Server(b"1", ResponseError("OOM"))
    with pytest.raises(GatewayUnavailable) as caught, translated(writes=True):
        do(kind, server, "run_many", calls("a", "b", "c"))
    assert caught.value.outcome == "unknown" and server.sent == [["a"], ["b"]]


@clusters
def test_a_shard_that_failed_is_not_asked_again_and_keeps_no_other_back(kind: type[Client]) -> None:
    error = ResponseError("OOM")
    server = Server(error, b"2")
    found = do(kind, server, "run_each", calls("a1", "b1", "a2"))
    assert found == [error, b"2", error] and server.sent == [["a1"], ["b1"]]


@clusters
def test_a_silent_shard_is_left_alone_for_a_while(
    kind: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, refusing = TimeoutError("slow"), ResponseError("OOM")
    client = kind(server := Server(silent, refusing))
    assert do(kind, client, "run_each", calls("a", "b")) == [silent, refusing]
    assert do(kind, client, "run_each", calls("a", "b")) == [silent, b"OK"]
    assert server.sent == [["a"], ["b"], ["b"]], "a refusal costs no time"
    later = time.monotonic() + scripts.SILENT
    monkeypatch.setattr("sockets.redis.scripts.time.monotonic", lambda: later)
    assert do(kind, client, "run_each", calls("a")) == [b"OK"]
