"""Callers who wait for a connection: in their order, and each place is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockets.redis.errors import NotConnected
from sockets.redis.pools import Pool


class Connection:
    """One that connects in an instant, or not at all."""

    fails: BaseException | None = None

    def __init__(self, **_: Any) -> None:
        pass

    async def connect(self) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails

    async def disconnect(self) -> None:
        pass

    async def re_auth(self) -> None:
        pass

    async def can_read_destructive(self) -> bool:
        return False

    def should_reconnect(self) -> bool:
        return False


def pool_of(most: int, timeout: float = 5) -> Any:
    kind: Any = Connection
    return Pool(connection_class=kind, max_connections=most, timeout=timeout)


async def test_who_has_waited_longest_is_next() -> None:
    """And not whoever gives one back and asks again: others would wait until their time is up."""
    pool, order = pool_of(1), list[str]()
    taken = await pool.get_connection()

    async def wait(name: str) -> None:
        connection = await pool.get_connection()
        order.append(name)
        await pool.release(connection)

    waiting = [asyncio.create_task(wait(name)) for name in ("first", "second")]
    await asyncio.sleep(0.01)
    await pool.release(taken)
    await wait("newcomer")
    await asyncio.gather(*waiting)
    assert order == ["first", "second", "newcomer"]


async def test_nobody_waits_for_ever() -> None:
    pool = pool_of(1, timeout=0.02)
    taken = await pool.get_connection()
    with pytest.raises(NotConnected):
        await pool.get_connection()
    await pool.release(taken)
    await pool.release(await pool.get_connection())


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ConnectionRefusedError(), NotConnected),
        (KeyError(), KeyError),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_one_that_does_not_connect_takes_no_place(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: type[BaseException]
) -> None:
    pool = pool_of(2)
    monkeypatch.setattr(Connection, "fails", error)
    for _ in range(5):
        with pytest.raises(raised):
            await pool.get_connection()
    monkeypatch.setattr(Connection, "fails", None)
    both = [await pool.get_connection() for _ in range(2)]
    assert len(set(both)) == 2
    for one in both:
        await pool.release(one)


async def test_one_that_cannot_be_made_takes_none_either() -> None:
    pool: Any = Pool(max_connections=1, no_such_option=1)
    for _ in range(3):
        with pytest.raises(TypeError):
            await pool.get_connection()


async def test_who_gives_up_waiting_takes_none() -> None:
    pool = pool_of(1)
    taken = await pool.get_connection()
    waiting = asyncio.create_task(pool.get_connection())
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    await pool.release(taken)
    await pool.release(await pool.get_connection())
