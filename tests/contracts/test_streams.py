"""What every stream backend does, case by case; `test_streams_model.py` plays any history.

`STREAMS` has an entry for each backend: a context manager that yields an empty one whose clock
the test moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sockets.base.ids import new_id
from sockets.deliveries import Fate, MessageFacts
from sockets.redis import Keys, connect
from sockets.streams.base import (
    ASKED_TTL,
    MAX_REPLACED,
    PAGE_BYTES,
    Appended,
    NewEntry,
    Streams,
)
from sockets.streams.memory import MemoryStreams
from sockets.streams.redis import RedisStreams, StreamCalls
from sockets.types import Page, Position
from tests.support.doubles import MovedClock
from tests.support.valkey import shared

OPTIONS: dict[str, Any] = {
    "size": 5,
    "ttl": 100.0,
    "record_ttl": 1_000.0,
    "idempotency_ttl": 50.0,
    "max_users": 10,
}


@asynccontextmanager
async def memory(clock: MovedClock, **options: Any) -> AsyncIterator[MemoryStreams]:
    yield MemoryStreams(**OPTIONS | options, clock=clock)


@asynccontextmanager
async def redis(clock: MovedClock, **options: Any) -> AsyncIterator[RedisStreams]:
    chosen = OPTIONS | options
    del chosen["max_users"]
    client = connect(shared().url)
    try:
        yield RedisStreams(client, StreamCalls(Keys(f"t{new_id()}"), **chosen, clock=clock))
    finally:
        await client.aclose()


Make = Callable[..., AbstractAsyncContextManager[Streams]]
STREAMS: dict[str, Make] = {"memory": memory, "redis": redis}


@pytest.fixture(params=list(STREAMS.values()), ids=list(STREAMS))
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def streams(make: Make, clock: MovedClock) -> AsyncIterator[Streams]:
    async with make(clock) as made:
        yield made


def entry(text: str = "m", **given: Any) -> NewEntry:
    return NewEntry(**{"id": new_id(), "body": f'{{"{text}"}}'.encode()} | given)


async def append(streams: Streams, user: str = "u", count: int = 1, **given: Any) -> Appended:
    for _ in range(count):
        done = await streams.append(user, entry(**given))
    return done


async def after(streams: Streams, offset: int, user: str = "u", limit: int = 100) -> Page:
    """As a session gets it; whoever only asks must get the same."""
    epoch = (await streams.head(user)).epoch
    looked = await streams.read(user, Position(epoch, offset), limit)
    followed = await streams.follow(user, Position(epoch, offset), limit)
    assert looked == followed
    return followed


def offsets(page: Page) -> list[int]:
    return [one.offset for one in page.entries]


# --- offsets and epochs


async def test_offsets_are_one_two_three(streams: Streams) -> None:
    done = [await append(streams) for _ in range(4)]
    assert [one.position.offset for one in done] == [1, 2, 3, 4]
    assert len({one.position.epoch for one in done}) == 1
    assert not any(one.duplicate for one in done)
    assert await streams.head("u") == done[-1].position


async def test_streams_of_users_are_apart(streams: Streams) -> None:
    await append(streams, "one", 3)
    other = await append(streams, "two")
    assert other.position.offset == 1
    assert other.position.epoch != (await streams.head("one")).epoch
    assert offsets(await after(streams, 0, "two")) == [1]


@pytest.mark.parametrize("user", ["kim@example.com", "한국", "a/b", "x" * 1_024, "{u}", "u:1", "*"])
async def test_any_user_id_has_a_stream(streams: Streams, user: str) -> None:
    assert (await append(streams, user)).position.offset == 1
    assert (await append(streams, "another")).position.offset == 1


async def test_a_session_or_a_position_makes_the_record(streams: Streams) -> None:
    first = await streams.head("u")
    assert first.offset == 0 and first.epoch
    assert await streams.head("u") == first
    assert await streams.heads(["u", "v"]) == {"u": first, "v": await streams.head("v")}
    page = await streams.follow("w", None, 5)
    assert (page.head, page.floor, page.entries, page.missing) == (0, 0, (), 0)
    assert (await streams.head("w")).epoch == page.epoch != ""


async def test_a_read_makes_nothing(streams: Streams) -> None:
    for after in (None, Position("e", 0), Position("", 0)):
        page = await streams.read("u", after, 5)
        assert page == Page("", 0, 0, (), 0)
    assert page.complete


async def test_a_read_changes_nothing(streams: Streams, clock: MovedClock) -> None:
    """What is over is passed over, and still there for the next append to remove."""
    await append(streams)
    await append(streams, ttl=10.0)
    await append(streams, count=2)
    for passed, visible, floor in ((11, [1, 3, 4], 0), (90, [], 4), (1, [], 4)):
        clock.advance(passed)
        page = await after(streams, 0)
        assert (offsets(page), page.floor, page.missing) == (visible, floor, len(visible))
        followed = await streams.read("u", None, 0)
        assert (followed.head, followed.floor) == (4, floor)
    assert (await append(streams)).position.offset == 5


async def test_an_append_answers_for_what_it_was_given(streams: Streams) -> None:
    given = entry(exclude_client="C")
    done = await streams.append("u", given)
    assert done.id == given.id
    (kept,) = (await after(streams, 0)).entries
    assert (kept.offset, kept.body, kept.exclude_client) == (1, given.body, "C")


async def test_append_many_is_append_in_order(streams: Streams) -> None:
    many = [("u", entry()), ("v", entry()), ("u", entry(collapse_key="k")), ("u", entry())]
    done = await streams.append_many(many)
    assert [one.id for one in done] == [new.id for _, new in many]
    assert [one.position.offset for one in done] == [1, 1, 2, 3]
    assert await streams.append_many([]) == []


async def test_of_appends_at_once_each_has_its_offset(streams: Streams) -> None:
    done = await asyncio.gather(*[streams.append("u", entry()) for _ in range(20)])
    assert sorted(one.position.offset for one in done) == list(range(1, 21))


# --- reading


async def test_a_read_begins_behind_the_position(streams: Streams) -> None:
    await append(streams, count=4)
    page = await after(streams, 2)
    assert (offsets(page), page.head, page.complete) == ([3, 4], 4, True)
    assert offsets(await after(streams, 4)) == []


async def test_a_read_is_a_page(streams: Streams) -> None:
    await append(streams, count=5)
    page = await after(streams, 1, limit=2)
    assert (offsets(page), page.head, page.complete, page.end) == ([2, 3], 5, False, 3)
    exact = await after(streams, 3, limit=2)
    assert (offsets(exact), exact.complete, exact.end) == ([4, 5], True, 5)
    assert (page.missing, exact.missing) == (4, 2)


async def test_a_page_is_never_too_large_and_never_empty(make: Make, clock: MovedClock) -> None:
    """Messages may be large: what one read may cost is bounded in bytes too."""
    async with make(clock) as streams:
        large = b'{"id":"%s"}' % (b"x" * (PAGE_BYTES // 2))
        for size in (large, large, large, large * 5):
            await streams.append("u", NewEntry(new_id(), size))
        first = await after(streams, 0)
        assert (len(first.entries), first.missing, first.complete) == (1, 4, False)
        assert len((await after(streams, 3)).entries) == 1


async def test_a_position_of_nowhere_reads_nothing(streams: Streams) -> None:
    await append(streams, count=3)
    for position in (None, Position("another", 1), Position("", 0)):
        page = await streams.read("u", position, 10)
        assert (page.entries, page.head, page.complete) == ((), 3, True)
    beyond = await after(streams, 99)
    assert (beyond.entries, beyond.head) == ((), 3)


# --- retention


async def test_retention_by_count_raises_the_floor(streams: Streams) -> None:
    await append(streams, count=5)
    assert (await after(streams, 0)).floor == 0
    await append(streams, count=2)
    page = await after(streams, 0)
    assert (offsets(page), page.floor, page.head) == ([3, 4, 5, 6, 7], 2, 7)


async def test_retention_by_age_raises_the_floor(streams: Streams, clock: MovedClock) -> None:
    await append(streams, count=2)
    clock.advance(60)
    await append(streams)
    clock.advance(39.5)
    assert (await after(streams, 0)).floor == 0
    clock.advance(0.6)
    page = await after(streams, 0)
    assert (offsets(page), page.floor, page.head) == ([3], 2, 3)
    clock.advance(100)
    page = await after(streams, 0)
    assert (offsets(page), page.floor, page.head) == ([], 3, 3)
    assert (await append(streams)).position.offset == 4, "offsets go on"


async def test_what_outlived_its_own_ttl_is_gone_and_no_loss(
    streams: Streams, clock: MovedClock
) -> None:
    await append(streams)
    await append(streams, ttl=10.0)
    await append(streams)
    clock.advance(9.5)
    assert offsets(await after(streams, 0)) == [1, 2, 3]
    clock.advance(0.6)
    page = await after(streams, 0)
    assert (offsets(page), page.floor, page.head) == ([1, 3], 0, 3)


async def test_an_expired_head_leaves_the_offset(streams: Streams, clock: MovedClock) -> None:
    await append(streams, ttl=1.0)
    clock.advance(2)
    page = await after(streams, 0)
    assert (offsets(page), page.head, page.floor, page.end) == ([], 1, 0, 1)
    assert (await append(streams)).position.offset == 2


async def test_what_outlived_its_own_ttl_is_no_loss_even_if_nobody_looked_for_long(
    streams: Streams, clock: MovedClock
) -> None:
    """Expired at 10 s, so retention at 100 s did not remove it; whoever has 1 missed nothing."""
    await append(streams)
    await append(streams, ttl=10.0)
    clock.advance(101)
    page = await after(streams, 1)
    assert (offsets(page), page.head) == ([], 2)
    assert page.floor == 1


async def test_expired_messages_do_not_use_up_the_count(
    streams: Streams, clock: MovedClock
) -> None:
    await append(streams)
    await append(streams, count=4, ttl=10.0)
    clock.advance(11)
    await append(streams, count=4)
    page = await after(streams, 0)
    assert (offsets(page), page.floor) == ([1, 6, 7, 8, 9], 0)


# --- collapse


async def test_a_collapse_key_keeps_the_newest(streams: Streams) -> None:
    for key in ("a", "b", "a", None, "a"):
        await append(streams, collapse_key=key)
    page = await after(streams, 0)
    assert (offsets(page), page.floor, page.head) == ([2, 4, 5], 0, 5)
    assert offsets(await after(streams, 3)) == [4, 5]


async def test_collapsed_messages_do_not_use_up_the_count(streams: Streams) -> None:
    await append(streams)
    await append(streams, count=50, collapse_key="progress")
    page = await after(streams, 0)
    assert (offsets(page), page.floor, page.head) == ([1, 51], 0, 51)


async def test_a_key_whose_message_is_gone_begins_anew(streams: Streams, clock: MovedClock) -> None:
    await append(streams, collapse_key="k", ttl=1.0)
    clock.advance(2)
    await append(streams, count=2, collapse_key="k")
    assert offsets(await after(streams, 0)) == [3]
    await append(streams, count=6)
    await append(streams, collapse_key="k")
    page = await after(streams, 0)
    assert (offsets(page), page.floor) == ([6, 7, 8, 9, 10], 5)


async def test_keys_of_users_are_apart(streams: Streams) -> None:
    await append(streams, "one", collapse_key="k")
    await append(streams, "two", collapse_key="k")
    assert offsets(await after(streams, 0, "one")) == [1]


# --- repetition


async def test_the_same_id_again_is_the_same_message(streams: Streams, clock: MovedClock) -> None:
    once = entry()
    first = await streams.append("u", once)
    await append(streams)
    clock.advance(49)
    again = await streams.append("u", once)
    assert again == replace(first, duplicate=True)
    assert (await streams.head("u")).offset == 2


async def test_the_same_key_again_is_the_first_receipt(streams: Streams) -> None:
    first = await streams.append("u", entry(idempotency_key="k"))
    again = await streams.append("u", entry(idempotency_key="k", collapse_key="other"))
    assert again == replace(first, duplicate=True)
    assert (await streams.append("u", entry(idempotency_key="l"))).position.offset == 2
    assert (await streams.append("v", entry(idempotency_key="k"))).position.offset == 1


async def test_an_id_repeated_as_a_key_is_the_same_message(streams: Streams) -> None:
    """After the outcome "unknown", repeating with that id as `idempotency_key` is safe."""
    lost = entry()
    first = await streams.append("u", lost)
    again = await streams.append("u", entry(idempotency_key=lost.id))
    assert again == replace(first, duplicate=True)
    assert (await streams.head("u")).offset == 1


@pytest.mark.parametrize("own_first", [True, False])
async def test_a_key_of_the_gateways_own_is_no_callers(streams: Streams, own_first: bool) -> None:
    """Also where the version before gave both the same name."""
    own = {"idempotency_key": "job:0", "own_key": "batch:ab:0"}
    kinds: list[dict[str, Any]] = [
        own,
        {"idempotency_key": "job:0"},
        own | {"own_key": "batch:cd:0"},
        {"idempotency_key": "batch:ab:0"},
        {"idempotency_key": "own:batch:ab:0"},
    ]
    if not own_first:
        kinds.reverse()
    first = [await streams.append("u", entry(**kind)) for kind in kinds]
    assert [one.position.offset for one in first] == [1, 2, 3, 4, 5]
    again = [await streams.append("u", entry(**kind)) for kind in kinds]
    assert [(one.id, one.duplicate) for one in again] == [(one.id, True) for one in first]


async def test_keys_of_the_gateways_own_end_with_the_window(
    streams: Streams, clock: MovedClock
) -> None:
    own = {"idempotency_key": "k", "own_key": "o"}
    await streams.append("u", entry(**own))
    clock.advance(30)
    single = await streams.append("u", entry(idempotency_key="k"))
    clock.advance(20)
    assert not (await streams.append("u", entry(**own))).duplicate
    assert (await streams.append("u", entry(idempotency_key="k"))).id == single.id


async def test_after_the_window_it_is_a_new_message(streams: Streams, clock: MovedClock) -> None:
    await streams.append("u", entry(idempotency_key="k"))
    clock.advance(51)
    again = await streams.append("u", entry(idempotency_key="k"))
    assert (again.duplicate, again.position.offset) == (False, 2)
    assert (await streams.append("u", entry(idempotency_key="k"))).duplicate


async def test_a_repetition_does_not_extend_the_window(streams: Streams, clock: MovedClock) -> None:
    for advance in (0, 30, 30):
        clock.advance(advance)
        done = await streams.append("u", entry(idempotency_key="k"))
    assert not done.duplicate


async def test_a_receipt_outlives_its_message(streams: Streams) -> None:
    first = await streams.append("u", entry(idempotency_key="k", collapse_key="c"))
    await append(streams, collapse_key="c")
    assert (await streams.append("u", entry(idempotency_key="k"))).position == first.position


# --- records


async def test_use_extends_a_record(streams: Streams, clock: MovedClock) -> None:
    first = await append(streams)
    for use in range(4):
        clock.advance(900)
        await append(streams, f"new-{use}")  # somebody's record is made: the moment of cleaning
        if use % 2:
            await streams.heads(["u"])
        else:
            await streams.follow("u", None, 1)
        streams.left("u", None)
        await append(streams, f"new-{use}")  # so that `u` is the longest unused again
    assert (await streams.head("u")).epoch == first.position.epoch


async def test_a_position_that_was_asked_for_is_good_for_ten_minutes(
    streams: Streams, clock: MovedClock
) -> None:
    """Whoever comes back with it misses nothing, and has to reload nothing."""
    first = await streams.head("u")
    clock.advance(ASKED_TTL - 1)
    assert await streams.head("u") == first, "asked again: ten minutes more"
    clock.advance(ASKED_TTL - 1)
    assert (await streams.read("u", first, 10)).epoch == first.epoch
    clock.advance(2)
    assert (await streams.read("u", first, 10)).epoch == "", "nobody used it"


@pytest.mark.parametrize("use", ["a message", "a session"])
async def test_a_position_that_is_used_has_a_record_that_lasts(
    streams: Streams, clock: MovedClock, use: str
) -> None:
    first = await streams.head("u")
    clock.advance(ASKED_TTL - 1)
    if use == "a message":
        assert (await append(streams)).position == Position(first.epoch, 1)
    else:
        assert (await streams.follow("u", first, 10)).epoch == first.epoch
        streams.left("u", None)
    clock.advance(OPTIONS["record_ttl"] - 2)
    assert (await streams.read("u", first, 10)).epoch == first.epoch


async def test_asking_for_a_position_keeps_a_record_that_is_about_to_end(
    streams: Streams, clock: MovedClock
) -> None:
    first = await append(streams)
    clock.advance(OPTIONS["record_ttl"] - 1)
    assert (await streams.head("u")).epoch == first.position.epoch
    clock.advance(ASKED_TTL - 1)
    assert (await streams.read("u", None, 0)).epoch == first.position.epoch
    clock.advance(2)
    assert (await streams.read("u", None, 0)).epoch == ""


async def test_a_record_that_nobody_used_goes(streams: Streams, clock: MovedClock) -> None:
    first = await append(streams)
    clock.advance(1_001)
    await streams.head("new")
    page = await streams.follow("u", first.position, 10)
    assert page.epoch != first.position.epoch
    assert (page.head, page.entries) == (0, ())


async def test_the_longest_unused_users_make_room_in_memory(clock: MovedClock) -> None:
    """Then every position of that user is of a lost epoch."""
    async with memory(clock, max_users=3) as streams:
        kept = {user: (await append(streams, user)).position for user in ("a", "b", "c")}
        kept["a"] = (await append(streams, "a")).position
        await append(streams, "d")
        assert await streams.head("a") == kept["a"]
        assert await streams.head("c") == kept["c"]
        lost = await streams.follow("b", kept["b"], 10)
        assert lost.epoch != kept["b"].epoch and lost.head == 0


async def test_nobody_makes_room_in_memory_for_those_who_only_ask(clock: MovedClock) -> None:
    """First go the records of which a position was asked, then those of users who are away; never
    that of a user who has a session here."""
    async with memory(clock, max_users=3) as streams:
        here = (await streams.follow("here", None, 0)).epoch
        away = (await append(streams, "away")).position
        for n in range(50):
            await streams.read(f"read-{n}", None, 10)
            await streams.head(f"asked-{n}")
        assert (await streams.read("away", None, 0)).epoch == away.epoch
        await append(streams, "one")
        await append(streams, "two")
        assert (await streams.read("away", None, 0)).epoch == ""
        for n in range(5):
            await streams.follow(f"more-{n}", None, 0)
        assert (await streams.read("here", None, 0)).epoch == here
        for n in range(5):  # more than may be remembered, but they are connected
            assert (await streams.read(f"more-{n}", None, 0)).epoch
        assert (await streams.read("two", None, 0)).epoch == ""
        streams.left("here", None)
        await append(streams, "three")
        assert (await streams.read("here", None, 0)).epoch == ""


# --- one message, and none


def described(text: str = "m", **given: Any) -> NewEntry:
    id = new_id()
    body = f'{{"id":"{id}","event":"{text}","data":1,"time":1.0}}'
    return NewEntry(**{"id": id, "body": body.encode(), "event": text} | given)


async def test_a_message_is_found_by_offset_id_and_key(streams: Streams, clock: MovedClock) -> None:
    given = described("order.paid", idempotency_key='k"7', collapse_key="c", ttl=20.0)
    await streams.append("u", described())
    done = await streams.append("u", given)
    await streams.append("u", described(exclude_client="x", idempotency_key="another"))
    found = await streams.find("u", offset=2)
    assert found.facts == MessageFacts(
        epoch=done.position.epoch,
        offset=2,
        fate=Fate.KEPT,
        id=given.id,
        event="order.paid",
        at=clock.now,
        size=len(given.body),
        idempotency_key='k"7',
        collapse_key="c",
        expires_at=clock.now + 20,
    )
    assert (found.epoch, found.head, found.floor) == (done.position.epoch, 3, 0)
    for how in ({"id": given.id}, {"key": 'k"7'}, {"offset": 2, "epoch": found.epoch}):
        assert (await streams.find("u", **how)).facts == found.facts
    last = (await streams.find("u", offset=3)).facts
    assert (last.exclude_client, last.idempotency_key) == ("x", "another")


async def test_the_key_of_a_message_is_read_with_it(streams: Streams) -> None:
    await append(streams, idempotency_key="k")
    await append(streams, own_key="o", idempotency_key="not the caller's")
    assert [one.idempotency_key for one in (await after(streams, 0)).entries] == ["k", None]


async def test_what_was_never_there_is_not_found(streams: Streams) -> None:
    nothing = await streams.find("nobody", offset=1)
    assert (nothing.facts.fate, nothing.epoch) == (Fate.NOT_THERE, "")
    assert (await streams.find("nobody", offset=1, epoch="e")).facts.fate is Fate.OTHER_EPOCH
    assert (await streams.read("nobody", None, 0)).epoch == "", "it wrote nothing"
    await append(streams, count=3)
    for how in ({"offset": 4}, {"offset": 0}, {"id": new_id()}, {"key": "k"}):
        found = await streams.find("u", **how)
        assert (found.facts.fate, found.facts.at, found.head) == (Fate.NOT_THERE, None, 3)
    other = (await streams.find("u", offset=2, epoch="another")).facts
    assert (other.fate, other.epoch, other.offset) == (Fate.OTHER_EPOCH, "another", 2)


async def test_what_retention_removed_is_known_to_be_gone(
    streams: Streams, clock: MovedClock
) -> None:
    await append(streams, count=7)
    assert [(await streams.find("u", offset=n)).facts.fate for n in (1, 2, 3)] == [
        Fate.TRIMMED,
        Fate.TRIMMED,
        Fate.KEPT,
    ]
    clock.advance(100)
    assert (await streams.find("u", offset=3)).facts.fate is Fate.TRIMMED


async def test_what_is_over_is_known_to_be_gone(streams: Streams, clock: MovedClock) -> None:
    await append(streams, ttl=5.0)
    clock.advance(5)
    found = (await streams.find("u", offset=1)).facts
    assert (found.fate, found.expires_at) == (Fate.EXPIRED, clock.now)
    await append(streams)
    assert (await streams.find("u", offset=1)).facts.fate is Fate.REPLACED_OR_EXPIRED


async def test_what_was_replaced_is_known_with_its_successor(streams: Streams) -> None:
    for key in ("a", "b", "a", "b", "a"):
        await append(streams, collapse_key=key)
    found = [(await streams.find("u", offset=n)).facts for n in range(1, 6)]
    assert [(one.fate, one.replaced_by) for one in found] == [
        (Fate.REPLACED, 5),
        (Fate.REPLACED, 4),
        (Fate.REPLACED, 5),
        (Fate.KEPT, None),
        (Fate.KEPT, None),
    ]


async def test_of_those_that_were_replaced_the_newest_are_remembered(streams: Streams) -> None:
    await append(streams, count=MAX_REPLACED + 2, collapse_key="a")
    assert (await streams.find("u", offset=1)).facts.fate is Fate.REPLACED_OR_EXPIRED
    assert (await streams.find("u", offset=2)).facts.fate is Fate.REPLACED


async def test_a_message_is_found_among_many(make: Make, clock: MovedClock) -> None:
    async with make(clock, size=200) as streams:
        first = described(idempotency_key="first")
        await streams.append("u", first)
        await append(streams, count=180, collapse_key="c")
        await append(streams, count=5)
        assert (await streams.find("u", id=first.id)).facts.offset == 1
        assert (await streams.find("u", key="first")).facts.offset == 1
        assert (await streams.find("u", offset=180)).facts.replaced_by == 181
        assert (await streams.find("u", key="none")).facts.fate is Fate.NOT_THERE


# --- erasure


async def test_an_erased_stream_begins_anew(streams: Streams) -> None:
    old = await append(streams, count=3, collapse_key="c", ttl=50.0)
    await append(streams, "other")
    await append(streams)
    assert await streams.erase("u") == 2
    assert await streams.erase("u") == 0
    found = await streams.read("u", old.position, 10)
    assert (found.epoch, found.entries) == ("", ())
    followed = await streams.follow("u", old.position, 10)
    assert followed.epoch not in ("", old.position.epoch) and followed.entries == ()
    assert (await append(streams)).position.offset == 1
    assert len((await after(streams, 0, "other")).entries) == 1


async def test_an_erased_message_may_be_sent_again(streams: Streams) -> None:
    given = entry(idempotency_key="k")
    await streams.append("u", given)
    await streams.erase("u")
    again = await streams.append("u", given)
    assert not again.duplicate and again.position.offset == 1
