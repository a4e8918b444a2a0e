"""A user is forgotten: on two real nodes, with Redis and a database, nothing is left but what is
said to stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed

from sockets.base.ids import new_id
from tests.acceptance.test_keys import call, database
from tests.support.doubles import until_told
from tests.support.gateway import API_KEY, SHORT, Gateway, running
from tests.support.peers import client
from tests.support.valkey import Server

USER = "forget-me"


@contextmanager
def beside(one: Gateway, folder: Path, **settings: str) -> Iterator[Gateway]:
    """Another node on the same database, which the first one has migrated."""
    url = f"sqlite:///{one.data_dir}/gateway.sqlite3"
    other = Gateway(folder, DATABASE_URL=url, **settings)
    try:
        other.start()
        yield other
    finally:
        other.kill()


def rows_of(node: Gateway, user: str) -> int:
    with database(node) as rows:
        count = rows.execute("select count(*) from sockets_session where user = ?", (user,))
        return int(count.fetchone()[0])


async def keys_of(redis: Redis, user: str) -> set[str]:
    """The last parts of the names of a user's keys."""
    return {key.decode().rsplit("}:", 1)[1] async for key in redis.scan_iter(f"gw:{{{user}}}:*")}


async def has_no_state(redis: Redis) -> bool:
    return "state" not in await keys_of(redis, USER)


async def test_nothing_is_left_of_a_user_who_is_forgotten(tmp_path: Path, redis: Server) -> None:
    settings = SHORT | {"REDIS_URL": redis.url, "PRESENCE_GRACE": "0", "LEASE_RENEW": "1"}
    with (
        running(tmp_path / "a", NODE_NAME="a", **settings) as one,
        beside(one, tmp_path / "b", NODE_NAME="b", **settings) as other,
    ):
        async with Redis.from_url(redis.url) as store:
            mine = new_id()
            peers = [await client(one, USER, client_id=mine), await client(other, USER)]
            stays = await client(one, "stays", client_id=new_id())
            for user in (USER, "stays"):
                await call(one, API_KEY, "POST", f"/users/{user}/messages", {"event": "e"})
            message = await peers[0].receive()
            epoch = peers[0].welcome["epoch"]
            await call(one, API_KEY, "POST", f"/users/{USER}/revocations", {"sid": "x"})

            answer = await call(one, API_KEY, "DELETE", f"/users/{USER}")
            assert answer.status_code == 200, answer.text
            done = answer.json()
            assert (done["closed"], done["messages"], done["state"]) == (2, 1, True)
            assert (done["blocked"], done["revoked"]) == (False, True)
            for peer in peers:
                with pytest.raises(ConnectionClosed):
                    while True:
                        await peer.receive()
                assert peer.connection.close_code == 4504

            again = await call(other, API_KEY, "DELETE", f"/users/{USER}")
            assert again.json()["messages"] == again.json()["clients"] == 0
            assert rows_of(one, USER) == 0 and rows_of(one, "stays") == 1
            # Until it is announced that the user is offline.
            await until_told(partial(has_no_state, store), seconds=60)
            left = await keys_of(store, USER)
            assert {name.split(":")[0] for name in left} <= {
                *("ended", "idem", "ledger", "revoked")
            }, left
            assert await store.hkeys(f"gw:{{{USER}}}:ledger") == [b"erased"]  # type: ignore[misc]

            back = await client(
                one, USER, client_id=mine, epoch=epoch, offset=str(message["offset"])
            )
            assert back.welcome["recovered"] is False and back.welcome["epoch"] != epoch
            found = await call(one, API_KEY, "GET", f"/users/{USER}/delivery?message=none")
            assert [one["client_id"] for one in found.json()["clients"]] == [mine]
            assert (await stays.receive())["event"] == "e"
            for node in (one, other):
                lines = [line for line in node.log().splitlines() if "forgotten" in line]
                assert len(lines) == 1 and USER not in lines[0]
