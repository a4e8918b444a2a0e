"""A frozen node finds at its return that another process has its name: both go on, told apart."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.place import BOUND, LEASE, Place, crowd, place, ready
from tests.acceptance.test_http_api import api_of
from tests.support.gateway import Gateway
from tests.support.peers import http_get, worker
from tests.support.scale import scaled
from tests.support.valkey import Server

USERS = [f"u{n}" for n in range(20)]


async def successor_of(here: Place, path: Path) -> Gateway:
    """Another process of the name a, on another machine."""
    made = here.nodes["successor"] = Gateway(path / "successor", NODE_NAME="a", **here.environment)
    await asyncio.to_thread(made.start)
    await here.until("it is ready", lambda: ready(made))
    return made


async def names(here: Place) -> list[str]:
    """Of the living, without those of the other name."""
    return sorted(info.name for info in await here.registry.all() if info.name != "b")


async def both_names(here: Place) -> bool:
    found = await names(here)
    return len(found) == 2 and found[0] == "a" and found[1].startswith("a~")


def nodes_in_the_database(here: Place) -> dict[str, int]:
    with psycopg.connect(here.database) as database:
        return dict(
            database.execute("select name, pid from sockets_node where name <> 'b'").fetchall()
        )


def metric(node: Gateway) -> list[str]:
    text = http_get(node.worker_port, "/metrics")[1].decode()
    return [line for line in text.splitlines() if line.startswith("gateway_node{")]


FREEZES: dict[str, tuple[float, tuple[str, ...]]] = {
    "longer than its lease": (1.5 * LEASE, ()),
    "cleared up behind": (LEASE, ("b",)),
    "a moment": (0.0, ()),
}
KINDS = scaled(len(FREEZES), 1)


@pytest.mark.parametrize(
    ("frozen", "others"), list(FREEZES.values())[:KINDS], ids=list(FREEZES)[:KINDS]
)
async def test_both_go_on_under_names_of_their_own(
    tmp_path: Path, redis: Server, frozen: float, others: tuple[str, ...]
) -> None:
    async with place(tmp_path, redis) as here:
        old, *_ = await here.begin("a", *others)
        peers = await crowd(old, USERS)
        helper = await worker(old, pools="p")
        await here.until("rows", lambda: here.rows("node = 'a'") == len(USERS) + 1)
        old.signal(signal.SIGSTOP)
        await asyncio.sleep(frozen)
        if others:  # which find it dead, and say so
            told = len(USERS)
            await here.until("told", lambda: len(here.heard("user_offline")) == told, BOUND + 5)
        new = await successor_of(here, tmp_path)
        await here.until("lost rows", lambda: here.rows("close_code = 4099") == len(USERS) + 1)
        late = await crowd(new, ["late"])
        old.signal(signal.SIGCONT)
        # All that the old one holds goes on, is said to be there, and its rows are open again.
        await here.until("both", lambda: both_names(here))
        _, other = await names(here)
        await here.until("presence says where", lambda: _all_at(here, other))
        for peer in peers:
            answer = await peer.ask(type="sessions")
            assert [s["session"] for s in answer["sessions"]] == [peer.welcome["session"]]
        await here.until(
            "rows are open again",
            lambda: here.rows(f"node = '{other}' and close_code is null") == len(USERS) + 1,
        )
        await here.until(
            "the row of the late one",
            lambda: here.rows("node = 'a' and close_code is null") == len(late),
        )
        assert here.rows("disconnected_at is not null") == 0
        assert old.log().count(f"is node {other} from now on") == 1 and "is node" not in new.log()
        await here.until("ready again", lambda: ready(old))
        pids = {"a": new.pid, other: old.pid}
        await here.until("a row each", lambda: nodes_in_the_database(here) == pids)
        assert metric(old) == [f'gateway_node{{node="{other}"}} 1.0']
        assert metric(new) == ['gateway_node{node="a"} 1.0']
        # Messages between nodes reach the one that is meant.
        async with api_of(new) as http:
            done = await http.delete(f"/users/{USERS[0]}/sessions")
            assert done.json() == {"closed": 1, "unconfirmed": 0}
            assert (await peers[0].closed())[0] == 4504
            assigning = asyncio.create_task(http.post("/tasks", json={"pool": "p", "event": "e"}))
            offer = await helper.receive()
            assert (await helper.ask(type="accept", task=offer["task"], offer=offer["offer"]))["ok"]
            assert (await assigning).status_code in (200, 201)
        # Nobody takes it for dead again, and both end as nodes do.
        await asyncio.sleep(LEASE)
        assert await names(here) == ["a", other]
        assert here.rows(f"node = '{other}' and close_code is null") == len(USERS)
        await asyncio.to_thread(old.kill)
        await here.until(
            "lost after all",
            lambda: here.rows(f"node = '{other}' and close_code = 4099") == len(USERS),
            BOUND + 5,
        )
        assert here.rows("node = 'a' and close_code is null") == len(late)


async def _all_at(here: Place, node: str) -> bool:
    found = await here.look(USERS)
    return all([one.node for one in found[user].sessions] == [node] for user in USERS)
