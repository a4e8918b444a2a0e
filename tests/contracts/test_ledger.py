"""What every ledger does; and that both say the same of any history of notes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError

from sockets.base.ids import new_id
from sockets.deliveries import LedgerEntry
from sockets.ledger.base import (
    ERASED_TTL,
    LEDGER_TTL,
    MAX_CLIENTS,
    Ledger,
    PartlyWritten,
    merged,
)
from sockets.ledger.memory import MemoryLedger
from sockets.ledger.redis import RedisLedger
from sockets.redis import Keys, connect
from tests.support.doubles import NOON, MovedClock
from tests.support.valkey import answer, shared

CLIENT = "01HZY8K3V5N6Q7R8S9T0ABCDEF"


@asynccontextmanager
async def memory() -> AsyncIterator[MemoryLedger]:
    yield MemoryLedger(max_users=100, clock=MovedClock())


@asynccontextmanager
async def redis() -> AsyncIterator[RedisLedger]:
    client = connect(shared().url)
    try:
        yield RedisLedger(client, Keys(f"t{new_id()}"))
    finally:
        await client.aclose()


@pytest.fixture(params=[memory, redis], ids=["memory", "redis"])
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    async with request.param() as made:
        yield made


def note(client: str = CLIENT, **given: Any) -> LedgerEntry:
    """A note of a session that was opened at NOON."""
    usual: dict[str, Any] = {
        "client_id": client,
        "epoch": "e",
        "start": 0,
        "sent": 0,
        "acked": None,
        "acked_at": None,
        "at": NOON + 1,
        "began": 0,
        "head": 0,
        "recovered": None,
        "session": "s1",
        "node": "a",
        "opened_at": NOON,
    }
    return LedgerEntry(**usual | given)


async def written(ledger: Ledger, *notes: LedgerEntry, user: str = "u") -> LedgerEntry:
    """Write notes one by one; return the entry of CLIENT."""
    for one in notes:
        await ledger.write([(user, one)])
    (entry,) = [entry for entry in await ledger.read(user) if entry.client_id == CLIENT]
    return entry


async def test_an_entry_is_read_as_it_was_written(ledger: Ledger) -> None:
    whole = note(
        acked=3,
        acked_at=NOON + 0.25,
        sent=5,
        head=7,
        recovered=True,
        ended_at=NOON + 2,
        code=4000,
        reason="this node is draining",
    )
    assert await ledger.read("u") == []
    assert await written(ledger, whole) == whole
    assert await ledger.read("another") == []


@pytest.mark.parametrize("user", ["kim@example.com", "한국", "{u}", "}u", "gw:nodes", "a b"])
async def test_any_user_has_one(ledger: Ledger, user: str) -> None:
    assert await written(ledger, note(sent=1), user=user) == note(sent=1)


async def test_a_later_note_of_a_session_takes_the_place_of_the_earlier(ledger: Ledger) -> None:
    early, late = note(sent=5, at=NOON + 1), note(sent=9, acked=7, acked_at=NOON, at=NOON + 11)
    assert await written(ledger, early, late) == late
    assert await written(ledger, early) == late, "it came late"


async def test_what_a_client_got_by_two_sessions_is_one(ledger: Ledger) -> None:
    first = note(start=2, sent=9, acked=7, acked_at=NOON, ended_at=NOON + 5, code=1001)
    second = note(
        session="s2",
        opened_at=NOON + 6,
        at=NOON + 8,
        node="b",
        start=7,
        began=7,
        sent=12,
        head=11,
        recovered=True,
    )
    both = replace(second, start=2, acked=7, acked_at=NOON)
    assert await written(ledger, first, second) == both
    assert await written(ledger, first) == both, "it came late"


async def test_nothing_is_said_of_what_lies_between_two_sessions(ledger: Ledger) -> None:
    """The first was killed after its last note, and the client has come further since."""
    killed = note(sent=4, acked=3, acked_at=NOON)
    back = note(session="s2", opened_at=NOON + 6, at=NOON + 7, start=8, began=8, sent=10)
    entry = await written(ledger, killed, back)
    assert (entry.start, entry.sent, entry.acked) == (8, 10, 3)


async def test_of_two_parts_with_a_gap_the_further_one_counts(ledger: Ledger) -> None:
    """The client came back with an old position, or the store's clock was set back in between:
    else what the other session got counted as not sent."""
    further = note(start=20, sent=30, ended_at=NOON + 5, code=1001)
    back = note(session="s2", opened_at=NOON + 6, at=NOON + 7, start=5, began=5, sent=10)
    both = replace(back, start=20, sent=30)
    assert await written(ledger, further, back) == both
    assert await written(ledger, further) == both, "it came late"
    more = replace(back, sent=21, at=NOON + 8)
    assert await written(ledger, more) == replace(more, start=5, sent=30)


async def test_another_epoch_begins_anew(ledger: Ledger) -> None:
    old = note(sent=9, acked=9, acked_at=NOON)
    new = note(epoch="f", session="s2", opened_at=NOON + 6, at=NOON + 7, sent=1)
    assert await written(ledger, old, new) == new
    assert await written(ledger, old) == new, "it came late"


async def test_the_least_recently_acknowledged_go(ledger: Ledger) -> None:
    clients = [new_id() for _ in range(MAX_CLIENTS)]
    for place, client in enumerate(clients):
        await ledger.write([("u", note(client, acked=1, acked_at=NOON + place))])
    await ledger.write([("u", note(clients[0], acked=2, acked_at=NOON + 90, at=NOON + 90))])
    await ledger.write([("u", note("never acknowledged", at=NOON + 91))])
    left = {entry.client_id for entry in await ledger.read("u")}
    assert left == {*clients, "never acknowledged"} - {clients[1]}
    await ledger.write([("u", note("another", at=NOON + 92))])
    left = {entry.client_id for entry in await ledger.read("u")}
    assert len(left) == MAX_CLIENTS and "never acknowledged" not in left


async def test_notes_of_many_users_are_written_together(ledger: Ledger) -> None:
    notes = [(f"u{n % 70}", note(f"client {n}", sent=n)) for n in range(140)]
    await ledger.write(notes)
    for user in ("u0", "u69"):
        mine = {one.client_id: one for name, one in notes if name == user}
        assert {one.client_id: one for one in await ledger.read(user)} == mine
    await ledger.write([])


async def test_who_is_erased_begins_afresh(ledger: Ledger) -> None:
    before = note(sent=5)
    await ledger.write([("u", before), ("other", before)])
    assert await ledger.erase("u", NOON + 10) == 1
    assert await ledger.read("u") == [] and await ledger.erase("u", NOON + 10) == 0
    await ledger.write([("u", before)])
    assert await ledger.read("u") == [], "it was on its way"
    back = note(session="s2", opened_at=NOON + 11, at=NOON + 12)
    assert await written(ledger, back, before) == back
    assert await ledger.read("other") == [before]


def any_note(random: random.Random) -> LedgerEntry:
    session = random.randrange(5)
    start = random.randrange(10)
    sent = start + random.randrange(10)
    acked = random.choice([None, random.randrange(sent + 1)])
    return note(
        random.choice([CLIENT, "another"]),
        epoch=random.choice(["e", "e", "e", "f"]),
        start=start,
        sent=sent,
        acked=acked,
        acked_at=None if acked is None else NOON + acked,
        began=start,
        session=f"s{session}",
        opened_at=NOON + session // 2,  # of two at once the ids decide
        at=NOON + session + random.randrange(4),
    )


async def test_both_say_the_same_of_any_history() -> None:
    chance = random.Random(7)
    async with memory() as one, redis() as other:
        for number in range(40):
            user = f"u{number}"
            for _ in range(12):
                notes = [(user, any_note(chance)) for _ in range(chance.randrange(1, 4))]
                await one.write(notes)
                await other.write(notes)
                assert await one.read(user) == await other.read(user)


def test_the_order_of_notes_does_not_matter() -> None:
    chance = random.Random(11)
    for _ in range(300):
        one, other = any_note(chance), any_note(chance)
        if (one.session, one.at) != (other.session, other.at):
            assert merged(one, other) == merged(other, one)


# --- what only one of them can


async def test_memory_keeps_those_who_were_written_last() -> None:
    clock = MovedClock()
    ledger = MemoryLedger(max_users=2, clock=clock)
    for user in ("a", "b", "a", "c"):
        await ledger.write([(user, note())])
    assert [bool(await ledger.read(user)) for user in "abc"] == [True, False, True]
    clock.advance(LEDGER_TTL)
    assert await ledger.read("a") == []


async def test_redis_keeps_them_for_their_time() -> None:
    client = connect(shared().url)
    keys = Keys(f"t{new_id()}")
    try:
        ledger = RedisLedger(client, keys)
        await ledger.write([("u", note())])
        assert LEDGER_TTL - 5 < await client.ttl(keys.user("u", "ledger")) <= LEDGER_TTL
        await ledger.erase("u", NOON)
        assert ERASED_TTL - 5 < await client.ttl(keys.user("u", "ledger")) <= ERASED_TTL
    finally:
        await client.aclose()


async def test_what_another_program_wrote_stops_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = connect(shared().url)
    keys = Keys(f"t{new_id()}")
    try:
        ledger = RedisLedger(client, keys)
        await client.set(keys.user("broken", "ledger"), "a string")
        await answer(client.hset(keys.user("later", "ledger"), "x", "of a later version"))
        await ledger.write([(user, note()) for user in ("a", "broken", "b", "later")])
        assert [len(await ledger.read(user)) for user in ("a", "b", "later")] == [1, 1, 1]
        assert "the ledger of user 'broken' cannot be written" in caplog.text
    finally:
        await client.aclose()


async def test_a_shard_that_is_away_is_named_by_its_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_each(client: Any, calls: Any) -> list[Any]:
        return [ConnectionError("away"), 1, ConnectionError("away")]

    monkeypatch.setattr("sockets.ledger.redis.is_cluster", lambda client: True)
    monkeypatch.setattr("sockets.ledger.redis._WRITE.run_each", run_each)
    notes = [(user, note(session=f"{user}{n}")) for n in range(2) for user in ("1", "2", "3")]
    async with redis() as ledger:
        with pytest.raises(PartlyWritten) as told:
            await ledger.write(notes)
    assert {user for user, _ in told.value.left} == {"1", "3"} and len(told.value.left) == 4
    assert told.value.outcome == "unknown"
