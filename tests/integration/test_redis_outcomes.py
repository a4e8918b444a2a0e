"""What is said of a call that went wrong is true, whichever way it went wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import hiredis
import pytest
import uvloop
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError

from sockets.base.ids import new_id
from sockets.exceptions import GatewayUnavailable
from sockets.layers.redis import RedisChannelLayer
from sockets.redis import Keys, close, connect, connect_sync
from sockets.redis.errors import DISK, FULL, PARTLY, REPLICA, RIGHTS
from sockets.redis.links import links_to, server_of
from sockets.redis.scripts import Script
from sockets.streams.base import NewEntry
from sockets.streams.redis import RedisStreams, StreamCalls, SyncRedisStreams
from tests.integration.test_redis_cluster import cluster
from tests.integration.test_redis_streams import SETTINGS
from tests.support.doubles import until_told
from tests.support.gateway import wait_for
from tests.support.proxy import Proxy, proxy
from tests.support.valkey import Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def admin(server: Server) -> Iterator[SyncRedis]:
    client = SyncRedis(port=server.port)
    yield client
    client.close()


def streams_of(client: Any) -> RedisStreams:
    return RedisStreams(client, StreamCalls(Keys("gw"), **SETTINGS))


WIRE = RedisChannelLayer(hosts=["redis://x"], prefix="x").wire


def entry() -> NewEntry:
    id = new_id()
    return NewEntry(id, json.dumps({"id": id}, separators=(",", ":")).encode())


def stored(admin: SyncRedis, user: str = "u") -> list[str]:
    members = admin.zrange(f"gw:{{{user}}}:stream", 0, -1)
    return [json.loads(member)["id"] for member in members]  # type: ignore[union-attr]


@contextmanager
def sized(messages: int) -> Iterator[None]:
    """So many messages are kept for each user."""
    before = SETTINGS["size"]
    SETTINGS["size"] = messages
    try:
        yield
    finally:
        SETTINGS["size"] = before


async def refused(call: Coroutine[Any, Any, Any]) -> GatewayUnavailable:
    with pytest.raises(GatewayUnavailable) as caught:
        await call
    return caught.value


def reset_all(through: Proxy) -> None:
    """RST on every connection to the proxy's clients."""
    for writer in [one for one in through.writers if not one.is_closing()]:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


# --- connections that are reset


async def _hammer(server: Server) -> tuple[list[NewEntry], list[tuple[NewEntry, str]], int]:
    """Append as fast as possible while every connection is reset again and again."""
    done: list[NewEntry] = []
    failed: list[tuple[NewEntry, str]] = []
    async with proxy(server.port) as through:
        client = connect(f"redis://127.0.0.1:{through.port}/0")
        streams = streams_of(client)
        over = asyncio.Event()

        async def one() -> None:
            while not over.is_set():
                sent = entry()
                try:
                    await streams.append("u", sent)
                    done.append(sent)
                except GatewayUnavailable as error:
                    failed.append((sent, error.outcome))

        async def cut() -> None:
            async with asyncio.timeout(60):
                there = 0
                while through.connections <= 60 or len(done) <= 200:
                    await asyncio.sleep(0.02)
                    if len(done) > there:  # one that is reset before it is there proves nothing
                        there = len(done)
                        reset_all(through)
            over.set()

        await asyncio.gather(cut(), *(one() for _ in range(20)))
        await client.aclose()
        return done, failed, through.connections


def test_a_link_that_is_reset_under_load_is_no_error_of_ours(
    server: Server, admin: SyncRedis
) -> None:
    """On uvloop a write to a transport that was reset raises RuntimeError."""
    with sized(1_000_000), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done, failed, connections = runner.run(_hammer(server))
    assert connections > 60
    kept = stored(admin)
    assert len(kept) == len(set(kept)), "none is doubled"
    assert {one.id for one in done} <= set(kept), "none that was acknowledged is missing"
    assert not {one.id for one, outcome in failed if outcome == "nothing"} & set(kept)


async def _hammer_a_cluster(url: str, servers: list[Server]) -> tuple[set[str], set[str]]:
    """Ids that were acknowledged, and those of which it was said that nothing was done."""
    client = connect(url)
    streams = streams_of(client)
    done: set[str] = set()
    nothing: set[str] = set()
    over = asyncio.Event()

    async def one(user: str) -> None:
        while not over.is_set():
            sent = entry()
            try:
                await streams.append(user, sent)
                done.add(sent.id)
            except GatewayUnavailable as error:
                if error.outcome == "nothing":
                    nothing.add(sent.id)
                await asyncio.sleep(0.01)

    async def cut() -> None:
        times = 0
        while times < 40:
            await asyncio.sleep(0.02)
            if len(done) > 2.5 * times:  # one that is cut before it is there proves nothing
                times += 1
                for server in servers:
                    server.ask(b"CLIENT KILL TYPE normal")
        over.set()

    async with asyncio.timeout(60):
        await asyncio.gather(cut(), *(one(f"u{n % 8}") for n in range(16)))
    await close(client)
    return done, nothing


def test_links_to_a_cluster_that_are_cut_under_load_are_no_error_of_ours() -> None:
    """redis-py closes a connection that another task is about to write to."""
    with cluster() as (url, servers), sized(1_000_000):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            done, nothing = runner.run(_hammer_a_cluster(url, servers))
        kept: list[str] = []
        for server in servers:
            admin = SyncRedis(port=server.port)
            for key in admin.keys("gw:*:stream"):  # type: ignore[union-attr]
                kept += [json.loads(one)["id"] for one in admin.zrange(key, 0, -1)]  # type: ignore[union-attr]
            admin.close()
    assert done <= set(kept)
    assert len(kept) == len(set(kept)) and not nothing & set(kept)


# --- what is refused


async def test_where_only_publishing_is_refused_the_message_is_kept(
    server: Server, admin: SyncRedis
) -> None:
    admin.acl_setuser(
        "app", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-publish"]
    )
    client = connect(f"redis://app:x@127.0.0.1:{server.port}/0")
    calls = StreamCalls(Keys("gw"), **SETTINGS, wire=WIRE)
    try:
        sent = entry()
        done = await RedisStreams(client, calls).append("u", sent)
        assert (done.position.offset, done.published) == (1, False)
        assert stored(admin) == [sent.id]
    finally:
        await client.aclose()


REFUSALS: dict[str, tuple[Callable[[SyncRedis, Server], Any], str]] = {
    "out of memory": (lambda admin, _: admin.config_set("maxmemory", "1"), FULL),
    "a replica": (lambda admin, server: admin.replicaof("127.0.0.1", "1"), REPLICA),
    "no right to write": (
        lambda admin, _: admin.acl_setuser(
            "default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-hset"]
        ),
        RIGHTS,
    ),
    "no right to the keys": (
        lambda admin, _: admin.acl_setuser(
            "default", enabled=True, nopass=True, reset_keys=True, commands=["+@all"]
        ),
        RIGHTS,
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("many", [False, True])
async def test_what_was_refused_before_the_first_write_was_surely_not_done(
    server: Server, admin: SyncRedis, kind: str, many: bool
) -> None:
    client = connect(server.url)
    refuse, words = REFUSALS[kind]
    refuse(admin, server)
    try:
        streams = streams_of(client)
        many_calls = [("u", entry()), ("v", entry())]
        error = await refused(
            streams.append_many(many_calls) if many else streams.append("u", entry())
        )
        assert (error.outcome, str(error)) == ("nothing", words)
        assert error.detail, "the log gets Redis' own words"
    finally:
        await client.aclose()


async def test_a_disk_that_is_full_is_told_as_that(server: Server, admin: SyncRedis) -> None:
    shutil.rmtree(server.folder)  # where it would save
    client = connect(server.url)
    try:
        await client.set("x", 1)
        admin.config_set("save", "1 1")
        wait_for(
            lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err",  # type: ignore[index]
            "a failed save",
        )
        error = await refused(streams_of(client).append("u", entry()))
        assert (error.outcome, str(error)) == ("nothing", DISK)
    finally:
        admin.config_set("save", "")  # or it would not end before it has saved
        await client.aclose()


@pytest.mark.parametrize("command", ["zadd", "set", "expire"])
async def test_what_was_refused_after_a_write_is_unknown(
    server: Server, admin: SyncRedis, command: str
) -> None:
    admin.acl_setuser(
        "app", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{command}"]
    )
    client = connect(f"redis://app:x@127.0.0.1:{server.port}/0")
    try:
        error = await refused(streams_of(client).append("u", entry()))
        assert (error.outcome, str(error)) == ("unknown", RIGHTS)
    finally:
        await client.aclose()


@pytest.mark.parametrize("right", ["zadd", "set", "expire", "hset"])
async def test_what_was_refused_midway_and_is_repeated_is_there_once(
    server: Server, admin: SyncRedis, right: str
) -> None:
    """Whatever was refused, and however often: the message, and the one that it replaces."""
    streams = streams_of(client := connect(f"redis://app:x@127.0.0.1:{server.port}/0"))
    admin.acl_setuser("app", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    first, second = (replace(entry(), collapse_key="k", ttl=100.0) for _ in range(2))
    second = replace(second, idempotency_key="mine")
    try:
        await streams.append("u", first)
        admin.acl_setuser("app", commands=[f"-{right}"])
        assert (await refused(streams.append("u", second))).outcome in ("unknown", "nothing")
        assert stored(admin) in ([first.id], [second.id])
        with suppress(GatewayUnavailable):
            assert (await streams.append("u", second)).duplicate
        admin.acl_setuser("app", commands=[f"+{right}"])
        again = replace(entry(), idempotency_key="mine", collapse_key="k", ttl=100.0)
        done = await streams.append("u", again)
        assert done.position.offset == 2 and stored(admin) == [done.id]
        third = await streams.append("u", replace(entry(), collapse_key="k"))
        assert third.position.offset == 3 and stored(admin) == [third.id]
    finally:
        await client.aclose()


async def test_a_batch_of_which_some_was_done_is_unknown(server: Server, admin: SyncRedis) -> None:
    """The second user's keys are out of reach."""
    admin.acl_setuser("app", enabled=True, nopass=True, keys=["gw:{u}:*"], commands=["+@all"])
    url = f"redis://app:x@127.0.0.1:{server.port}/0"
    client, sync = connect(url), connect_sync(url)
    try:
        both = [("u", entry()), ("v", entry())]
        error = await refused(streams_of(client).append_many(both))
        assert error.outcome == "unknown" and len(stored(admin)) == 1
        for_threads = SyncRedisStreams(sync, StreamCalls(Keys("gw"), **SETTINGS))
        with pytest.raises(GatewayUnavailable) as caught:
            await asyncio.to_thread(for_threads.append_many, both)
        assert caught.value.outcome == "unknown"
        nobody = [("v", entry()), ("w", entry())]
        assert (await refused(streams_of(client).append_many(nobody))).outcome == "nothing"
    finally:
        sync.close()
        await client.aclose()


def test_a_fault_of_a_script_says_whether_it_had_written(server: Server, admin: SyncRedis) -> None:
    """A mistake of ours in Lua, too."""
    for body, partly in (
        ("local x = nil; return x.y", False),
        ("redis.call('GET', 'k'); error('no')", False),
        ("redis.call('SET', 'k', 1); error('no')", True),
        ("redis.call('SET', 'k', 1); redis.call('LPUSH', 'k', 1)", True),
    ):
        with pytest.raises(Exception, match=r"\A" + (PARTLY if partly else "(?!PARTLY)")):
            admin.eval(Script.guarded(body), 0)
    assert admin.eval(Script.guarded("return {1, redis.sha1hex('')}"), 0)[0] == 1  # type: ignore[index]


# --- after a fail-over


async def test_the_first_readonly_ends_every_link_and_the_call_goes_once_more(
    server: Server, admin: SyncRedis
) -> None:
    """What is at the address is another server now, as behind a name that has moved."""
    new = Server()
    async with proxy(server.port) as through:
        url = f"redis://127.0.0.1:{through.port}/0"
        client, sync = connect(url), connect_sync(url)
        streams = streams_of(client)
        for_threads = SyncRedisStreams(sync, StreamCalls(Keys("gw"), **SETTINGS))
        try:
            await asyncio.gather(*(streams.append("u", entry()) for _ in range(5)))
            await asyncio.to_thread(for_threads.append, "u", entry())
            admin.replicaof("127.0.0.1", str(new.port))
            through.target = new.port
            generation = links_to(server_of(url)).generation
            sent = entry()
            assert (await streams.append("u", sent)).duplicate is False
            assert links_to(server_of(url)).generation == generation + 1
            # Not one of the other connections asks the old one any more.
            before = server.ask(b"INFO commandstats").count(b"evalsha")
            assert before == 1
            calls = _evals(server)
            await asyncio.gather(*(streams.append("u", entry()) for _ in range(20)))
            await asyncio.to_thread(for_threads.append, "u", entry())
            assert _evals(server) == calls
        finally:
            sync.close()
            await client.aclose()
            new.stop()


async def test_the_layer_leaves_a_demoted_server_too(server: Server, admin: SyncRedis) -> None:
    """What is published and listened to there gives no error at all."""
    new = Server()
    async with proxy(server.port) as through:
        url = f"redis://127.0.0.1:{through.port}/0"
        client, layer = connect(url), RedisChannelLayer(hosts=[url])
        heard: list[Any] = []
        gaps: list[int] = []
        try:
            layer_here: Any = layer
            layer_here.add_gap_listener(lambda: gaps.append(1))
            await layer_here.group_add_sink("g", heard.append)
            await streams_of(client).append("u", entry())
            admin.replicaof("127.0.0.1", str(new.port))
            through.target = new.port
            await streams_of(client).append("u", entry())
            await until_told(lambda: _done(bool(gaps) and layer_here.connected))
            subscribed = b"asgi__group__g"
            assert subscribed in new.ask(b"PUBSUB CHANNELS *")
            # The end of the old connection comes by the proxy, some time later.
            await until_told(lambda: _done(subscribed not in server.ask(b"PUBSUB CHANNELS *")))
            await layer.group_send("g", {"type": "t"})
            await until_told(lambda: _done(bool(heard)))
        finally:
            await layer_here.close()
            await client.aclose()
            new.stop()


async def _done(so: bool) -> bool:
    return so


def _evals(server: Server) -> bytes:
    lines = server.ask(b"INFO commandstats").split(b"\r\n")
    (line,) = [line for line in lines if line.startswith(b"cmdstat_evalsha:")]
    return line.split(b",")[0]


async def test_a_server_that_is_found_again_is_left_once_more(
    server: Server, admin: SyncRedis
) -> None:
    """What is connected anew before an address has moved finds the demoted server again, and
    publishes there without an error."""
    links = links_to(server_of(server.url))
    seen = _Seen()
    links.listen(seen.dropped)
    client = connect(server.url)
    try:
        admin.replicaof("127.0.0.1", 1)
        for _ in range(3):
            await refused(streams_of(client).append("u", entry()))
        generation, told = links.generation, seen.count
        admin.replicaof("NO", "ONE")
        await streams_of(client).append("u", entry())  # nothing is refused any more
        await until_told(lambda: _done(seen.count > told))
        assert links.generation == generation + 1
        # Once for all of them, and a server that takes writes is not left again.
        generation = links.generation
        await streams_of(client).append("u", entry())
        await asyncio.sleep(0)
        assert links.generation == generation
    finally:
        await close(client)


class _Seen:
    count = 0

    def dropped(self, why: str) -> None:
        self.count += 1


async def test_of_a_batch_only_what_was_refused_goes_again(
    server: Server, admin: SyncRedis
) -> None:
    """Demoted between two of its calls."""
    client = connect(server.url)
    script = Script("sockets.redis", "guard", "guard_end")
    script._text = Script.guarded(
        "local n = redis.call('INCR', KEYS[1])\n"
        "if n == tonumber(ARGV[1]) then return redis.error_reply('READONLY demoted') end\n"
        "return n"
    )
    script._sha = admin.script_load(script._text)  # type: ignore[assignment]
    try:
        answers = await script.run_many(client, [(["a"], [9]), (["b"], [1]), (["c"], [9])])
        assert answers == [1, 2, 1], "b alone was asked twice"
    finally:
        await client.aclose()


async def test_a_publication_is_never_repeated(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(server.url)
    calls: list[tuple[Any, ...]] = []

    async def demoted(_: Any, *args: Any, **options: Any) -> Any:
        calls.append(args)
        raise ReadOnlyError("demoted")

    try:
        with monkeypatch.context() as patch:
            patch.setattr(Redis, "execute_command", demoted)
            for command in ("PUBLISH", "SET"):
                with pytest.raises(ReadOnlyError):
                    await client.execute_command(command, "x", "y")
    finally:
        await client.aclose()
    assert [command for command, *_ in calls] == ["PUBLISH", "SET", "SET"]


async def test_a_server_that_loads_is_refused_as_that(server: Server) -> None:
    """LOADING after an attempt whose answer was lost does not make the outcome certain."""
    replies = [b"", b"-LOADING Redis is loading the dataset in memory\r\n"]

    plays: list[asyncio.StreamWriter] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        plays.append(writer)
        while data := await reader.read(65536):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                if command[0] != b"EVALSHA":
                    writer.write(b"+OK\r\n")
                elif reply := replies.pop(0) if len(replies) > 1 else replies[0]:
                    writer.write(reply)
                else:
                    writer.transport.abort()
                    return

    listening = await asyncio.start_server(play, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = connect(f"redis://127.0.0.1:{port}/0")
    try:
        lost = await refused(streams_of(client).append("u", entry()))
        assert lost.outcome == "unknown"
        certain = await refused(streams_of(client).append("u", entry()))
        assert (certain.outcome, "loading" in str(certain)) == ("nothing", True)
    finally:
        await client.aclose()
        listening.close()
        for writer in plays:
            writer.close()
            await asyncio.wait({asyncio.ensure_future(writer.wait_closed())})


async def test_a_record_that_was_begun_only_in_part_is_begun_again(
    server: Server, admin: SyncRedis
) -> None:
    """A right that was missing once must not refuse everything that comes later."""
    admin.execute_command("ACL", "SETUSER", "part", "on", ">pw", "~*", "&*", "+@all", "-hdel")
    client = connect(server.url.replace("redis://", "redis://part:pw@"))
    try:
        error = await refused(streams_of(client).append("u", entry()))
        assert (error.outcome, str(error)) == ("unknown", RIGHTS)
        admin.execute_command("ACL", "SETUSER", "part", "+@all")
        assert (await streams_of(client).append("u", entry())).position.offset == 1
    finally:
        await close(client)
