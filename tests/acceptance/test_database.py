"""PostgreSQL goes away under live sessions: no socket notices; afterwards every row is right."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from sockets.codes import LOST
from tests.support.gateway import SHORT, Gateway, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import Peer, client, http_get, refused, worker
from tests.support.postgres import Server
from tests.support.valkey import shared

SESSIONS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def empty(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with tables and no rows."""
    url = server.database()
    Gateway(tmp_path_factory.mktemp("empty"), DATABASE_URL=url).migrate()
    return url.rpartition("/")[2]


@contextmanager
def on_postgres(path: Path, url: str, **environment: str) -> Iterator[Gateway]:
    """A gateway whose rows are there. Its log must hold no traceback."""
    gateway = Gateway(path / "data", **SHORT | environment, DATABASE_URL=url)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.kill()
    assert "Traceback" not in gateway.log(), gateway.log()


def rows(gateway: Gateway, where: str = "true") -> list[dict[str, Any]]:
    url = gateway.environment["DATABASE_URL"]
    with psycopg.connect(url, connect_timeout=5, row_factory=dict_row) as connection:
        return connection.execute(
            f"SELECT * FROM sockets_session WHERE {where}".encode()
        ).fetchall()


def open_rows(gateway: Gateway) -> set[str]:
    return {row["id"] for row in rows(gateway, "disconnected_at IS NULL")}


def ids(peers: list[Peer]) -> set[str]:
    return {peer.welcome["session"] for peer in peers}


def metric(gateway: Gateway, sample: str) -> float:
    body = http_get(gateway.worker_port, "/metrics")[1].decode()
    found = re.search(rf"^{re.escape(sample)} (\S+)$", body, re.MULTILINE)
    return float(found[1]) if found else 0.0


def dropped(gateway: Gateway) -> float:
    return metric(gateway, 'gateway_dropped_total{what="recorder"}')


async def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    await asyncio.to_thread(wait_for, condition, what, seconds)


async def open_clients(gateway: Gateway, prefix: str, count: int) -> list[Peer]:
    return [await client(gateway, f"{prefix}-{number}") for number in range(count)]


async def close(gateway: Gateway, peers: list[Peer], left: int) -> None:
    """Close them; returns when the gateway knows, and has `left` clients."""
    await asyncio.gather(*(peer.close() for peer in peers))
    await until(lambda: metric(gateway, 'gateway_sessions{kind="client"}') == left, "the ends")


@contextmanager
def killed(server: Server) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """It is there, and says nothing: whoever asks it waits."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@pytest.mark.parametrize("away", [frozen, pytest.param(killed, marks=pytest.mark.soak)])
async def test_keys_while_the_database_is_away(
    server: Server, empty: str, tmp_path: Path, away: Any
) -> None:
    """Those that are known count; whoever else comes is told to come again, and may."""
    with on_postgres(tmp_path, server.database(empty), KEYS_REFRESH="0.5") as gateway:
        known, late = (
            gateway.manage("create_key", name, "--scope", "notify").stdout.strip()
            for name in ("known", "late")
        )
        peer, gone = await worker(gateway, known), await worker(gateway, late)
        gateway.manage("end_key", "late")
        assert (await gone.closed())[0] == 4508, "it is not known any more"
        with away(server):
            await until(lambda: "keys cannot be read" in gateway.log(), "the outage to be seen")
            assert (await peer.ask(type="notify", user="42", event="e"))["ok"]
            await worker(gateway, known)
            await worker(gateway)  # by a key of the environment
            header = {"Authorization": f"Bearer {late}"}
            told = await refused(gateway.worker_url(), additional_headers=header)
            assert told == (1013, "keys cannot be read from the database now")
        await until(lambda: "keys are known again" in gateway.log(), "the database")
        assert (await refused(gateway.worker_url(), additional_headers=header))[0] == 4501
        gateway.manage("end_key", "known")
        assert (await peer.closed())[0] == 4508


@pytest.mark.parametrize("away", [killed, pytest.param(frozen, marks=pytest.mark.soak)])
async def test_an_outage(server: Server, empty: str, tmp_path: Path, away: Any) -> None:
    with on_postgres(tmp_path, server.database(empty)) as gateway:
        sender = await worker(gateway)
        stay, go = await open_clients(gateway, "stay", SESSIONS - 5), []
        go += await open_clients(gateway, "go", 5)
        await until(lambda: open_rows(gateway) == ids([sender, *stay, *go]), "the rows")
        with away(server):
            await close(gateway, go, len(stay))
            come = await open_clients(gateway, "come", 10)
            await asyncio.sleep(2)  # so long that attempts fail, and wait for the next one
            for peer in [*stay, *come]:
                user = peer.welcome["user"]
                await sender.ask(type="notify", user=user, event="n", data=user)
            for peer in [*stay, *come]:
                assert (await peer.receive())["data"] == peer.welcome["user"]
            assert metric(gateway, "gateway_recorder_pending") >= len(go) + len(come)
        live = ids([sender, *stay, *come])
        await until(lambda: open_rows(gateway) == live, "the rows of after")
        ended = rows(gateway, "disconnected_at IS NOT NULL")
        assert {row["id"] for row in ended} == ids(go)
        assert {row["close_code"] for row in ended} == {1000}
        assert dropped(gateway) == 0
        assert await asyncio.to_thread(gateway.stop) == 0
        assert len(rows(gateway)) == len(live) + len(go) and not open_rows(gateway)


async def test_more_than_the_queue_holds(server: Server, empty: str, tmp_path: Path) -> None:
    """The ends of 40 sessions and the beginnings of 10 are lost; no row stays open for it."""
    with on_postgres(tmp_path, server.database(empty), RECORDER_QUEUE="20") as gateway:
        peers: list[Peer] = []
        while len(peers) < SESSIONS:  # never more at once than the queue holds
            peers.extend(await open_clients(gateway, f"first-{len(peers)}", 10))
            await until(lambda: open_rows(gateway) == ids(peers), "the rows")
        stay, go = peers[:10], peers[10:]
        assert dropped(gateway) == 0
        with killed(server):
            await close(gateway, go, len(stay))
            come = await open_clients(gateway, "come", 30)
            await until(lambda: dropped(gateway) >= 50, "what is dropped")
            assert dropped(gateway) == 50
        live = ids([*stay, *come[10:]])
        await until(lambda: open_rows(gateway) == live, "the rows of after")
        assert {row["id"] for row in rows(gateway, f"close_code = {LOST}")} == ids(go)
        gap = "the history of 50 sessions has a gap"
        await until(lambda: gap in gateway.log(), "the log to say so, which it does after the rows")
        assert metric(gateway, 'gateway_sessions{kind="client"}') == len([*stay, *come])
        assert await asyncio.to_thread(gateway.stop) == 0
        assert not open_rows(gateway)
        assert ids(come[:10]).isdisjoint(row["id"] for row in rows(gateway))


async def test_a_node_that_dies_is_cleared_up_behind(
    server: Server, empty: str, tmp_path: Path
) -> None:
    """By the other one, also when the database has to be waited for; the same name may return."""
    url = server.database(empty)
    mode = {"REDIS_URL": shared().url, "GATEWAY_NAMESPACE": f"database-{shared().port}"}
    mode |= {"LEASE_TTL": "2", "LEASE_RENEW": "0.3", "LAYER_PREFIX": "database"}
    with (
        on_postgres(tmp_path / "a", url, NODE_NAME="a", **mode) as a,
        on_postgres(tmp_path / "b", url, NODE_NAME="b", **mode) as b,
    ):
        lost, kept = await open_clients(a, "lost", 10), await open_clients(b, "kept", 10)
        await until(lambda: open_rows(b) == ids([*lost, *kept]), "the rows")
        with killed(server):
            a.kill()
            await until(lambda: "node a (process" in b.log(), "the other to notice")
        await until(lambda: open_rows(b) == ids(kept), "the rows of the dead")
        assert {row["close_code"] for row in rows(b, "node = 'a'")} == {LOST}
        await asyncio.to_thread(a.start)
        back = await open_clients(a, "back", 10)
        await until(lambda: open_rows(b) == ids([*back, *kept]), "the rows of its return")


async def test_who_is_frozen_in_mid_transaction_keeps_no_row_locked(
    server: Server, empty: str, tmp_path: Path
) -> None:
    """Its successor enters under the same name, and closes what it left."""
    url = server.database(empty)
    with on_postgres(tmp_path, url, LEASE_RENEW="0.5") as gateway, psycopg.connect(url) as first:
        held = b"SELECT name FROM sockets_node FOR UPDATE"

        def locks() -> bool:  # the row is written by the recorder, some time after the start
            return bool(first.execute(held).fetchall())

        await asyncio.to_thread(wait_for, locks, "the node's row", PATIENCE)

        def waits() -> bool:
            with psycopg.connect(url) as one:
                found = one.execute(
                    "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                return any("sockets_node" in query for (query,) in found)

        await asyncio.to_thread(wait_for, waits, "the node's heartbeat to wait", PATIENCE)
        gateway.signal(signal.SIGSTOP)
        first.rollback()  # the frozen process has the lock now, and does not go on
        with psycopg.connect(url) as second:
            second.execute(f"SET lock_timeout = '{PATIENCE}s'".encode())
            await asyncio.to_thread(second.execute, held)
            seen = second.execute("SELECT seen_at FROM sockets_node").fetchone()
        gateway.signal(signal.SIGCONT)

        def goes_on() -> bool:
            return first.execute("SELECT seen_at FROM sockets_node").fetchone() != seen

        first.autocommit = True
        await asyncio.to_thread(wait_for, goes_on, "the node to write again", PATIENCE)


def test_old_rows_are_pruned_beside_whoever_holds_one(
    server: Server, empty: str, tmp_path: Path
) -> None:
    """Rule 16, in PostgreSQL: a row that a transaction holds is left to the next time, not waited
    for; live ones stay."""
    gateway = Gateway(tmp_path / "data", **SHORT, DATABASE_URL=server.database(empty))
    with psycopg.connect(gateway.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            'INSERT INTO sockets_session (id, kind, "user", client_id, node, address, agent, '
            "connected_at, disconnected_at, close_reason) SELECT lpad(n::text, 26, '0'), 'client', "
            "'42', 'C', 'a', '', '', now() - interval '200 days', "
            "CASE WHEN n > 3 THEN now() - interval '91 days' END, '' "
            "FROM generate_series(1, 1203) n"
        )
        with connection.transaction():
            connection.execute(
                "SELECT 1 FROM sockets_session WHERE id = lpad('700', 26, '0') FOR UPDATE"
            )
            said = gateway.manage("prune_sessions", "--dry-run").stdout
            assert said == "1200 rows of ended sessions would be deleted\n"
            said = gateway.manage("prune_sessions").stdout
            assert said == "1199 rows of ended sessions deleted\n"
        assert gateway.manage("prune_sessions").stdout == "1 rows of ended sessions deleted\n"
    assert len(open_rows(gateway)) == len(rows(gateway)) == 3
