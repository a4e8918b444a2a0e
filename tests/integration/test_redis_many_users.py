"""The scripts that look at many users at once leave Redis as those do that look at each.

Everything is done twice, in two namespaces: with the short way for those of whom nothing has
changed, and without. What Redis holds afterwards, and what was answered, must be the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from sockets.presence.base import Effects, Limit
from sockets.presence.redis import RedisPresence
from sockets.presence.scripts import EXTEND, RENEW, PresenceCalls
from sockets.redis import AT_ONCE, Keys, close, connect
from sockets.streams import redis as streams_module
from sockets.streams.base import NewEntry
from sockets.streams.known import Known, mark_of
from sockets.streams.redis import RedisStreams, StreamCalls
from sockets.types import Kind, Position, SessionInfo
from tests.support.doubles import NOON, MovedClock, info, no_warmup
from tests.support.valkey import Server, answer

LEASE, GRACE, NODE = 30.0, 10.0, "a:1"


@pytest.fixture(scope="module")
def server() -> Any:
    """A server of this module's own: tests look at all of its keys."""
    made = Server()
    yield made
    made.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Redis]:
    made = connect(server.url)
    await made.flushall()
    yield made
    await close(made)


async def held(client: Redis, namespace: str) -> dict[str, Any]:
    """All that a namespace holds, and when it ends (rounded: scripts take time)."""
    found = {}
    for key in await client.keys(f"{namespace}:*"):
        kind = await client.type(key)
        content: Any
        match kind:
            case b"zset":
                content = sorted(await client.zrange(key, 0, -1, withscores=True))
            case b"hash":
                content = await answer(client.hgetall(key))
                if b"last_seen" in content:  # by how long a key still lives, in its server's time
                    content[b"last_seen"] = round(float(content[b"last_seen"]) / 10)
            case b"string":
                content = await client.get(key)
        ends = await client.pttl(key)
        found[key.decode().removeprefix(namespace)] = content, round(ends / 10_000)
    return found


# --- leases


class Place:
    """Presence in a namespace of its own, on a clock that the test moves."""

    def __init__(self, client: Redis, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self.clock = MovedClock()
        calls = PresenceCalls(
            Keys(namespace), lease=LEASE, grace=GRACE, limit=Limit(3), clock=self.clock
        )
        self.presence = RedisPresence(client, calls, warm=no_warmup)

    def key(self, part: str, user: str = "42") -> str:
        return f"{self.namespace}:{{{user}}}:{part}"


Disturb = Callable[[Place, SessionInfo], Awaitable[object]]


async def nothing(place: Place, one: SessionInfo) -> None:
    pass


async def announced(place: Place, one: SessionInfo) -> None:
    state = await answer(place.client.hget(place.key("state"), "generation"))
    await answer(place.client.hdel(place.key("state"), f"unsaid:{int(state or b'0')}"))


async def announced_and_seen(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await answer(place.client.hset(place.key("state"), "last_seen", f"{NOON - 5:.6f}"))


async def released(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.release(one, NODE)


async def ended_elsewhere(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.end("42", 4508, "closed by support", session=one.id)


async def replaced(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    newer = replace(one, id="newer", connected_at=NOON + 5)
    await place.presence.register(newer, "b:1")


async def blocked(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.block("42", None)


async def revoked(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.revoke("42", "user", NOON + 1)


async def revoked_somebody_else(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.revoke("42", "sid:another", NOON + 1)


async def lease_ran_out(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    place.clock.now += LEASE + 1


async def another_ran_out(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.register(info("42", id="other", client_id="O", connected_at=NOON), "b:1")
    await place.client.zadd(place.key("sessions"), {"other": NOON + 1})
    place.clock.now += 5


async def another_lives(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await place.presence.register(info("42", id="other", client_id="O", connected_at=NOON), "b:1")


async def everything_is_gone(place: Place, one: SessionInfo) -> None:
    await place.client.delete(*await place.client.keys(f"{place.namespace}:*"))


def gone(part: str) -> Disturb:
    async def disturb(place: Place, one: SessionInfo) -> None:
        await announced(place, one)
        await place.client.delete(place.key(part))

    return disturb


def state_is(word: str) -> Disturb:
    async def disturb(place: Place, one: SessionInfo) -> None:
        await announced(place, one)
        await answer(
            place.client.hset(
                place.key("state"), mapping={"state": word, "grace_end": f"{NOON + 9:.6f}"}
            )
        )

    return disturb


async def info_is_another(place: Place, one: SessionInfo) -> None:
    await announced(place, one)
    await answer(place.client.hset(place.key("info"), one.id, '{"node": "former"}'))


DISTURBANCES: dict[str, Disturb] = {
    "nothing": nothing,
    "announced": announced,
    "announced and seen": announced_and_seen,
    "released": released,
    "ended elsewhere": ended_elsewhere,
    "replaced": replaced,
    "blocked": blocked,
    "revoked": revoked,
    "somebody else revoked": revoked_somebody_else,
    "lease ran out": lease_ran_out,
    "another's ran out": another_ran_out,
    "another lives": another_lives,
    "everything gone": everything_is_gone,
    "info is another": info_is_another,
    "in grace": state_is("grace"),
    "offline": state_is("offline"),
    **{f"{part} gone": gone(part) for part in ("sessions", "info", "clients", "state")},
}

SHORT = {
    "announced",
    "announced and seen",
    "another lives",
    "blocked",
    "info is another",
    "info gone",
}
"""Where nothing has changed for the session, so that it is not renewed one by one."""


def calls_of(script: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note the calls of a script from now on."""
    noted: list[Any] = []
    run = script.run_each

    async def noting(client: Redis, calls: Any) -> Any:
        noted.extend(calls)
        return await run(client, calls)

    monkeypatch.setattr(script, "run_each", noting)
    return noted


async def renewed(place: Place, disturb: Disturb, kind: Kind) -> tuple[dict[str, Any], Effects]:
    infos = [
        info("42", id=id, client_id=id[0], kind=kind, connected_at=NOON) for id in ("one", "two")
    ]
    for one in infos:
        await place.presence.register(one, NODE)
    await disturb(place, infos[0])
    place.clock.now += 1.5
    effects = await place.presence.renew(infos, NODE)
    return await held(place.client, place.namespace), effects


@pytest.mark.parametrize("name", DISTURBANCES)
async def test_renewing_many_is_renewing_each(
    client: Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = calls_of(RENEW, monkeypatch)
    short = await renewed(Place(client, "short"), DISTURBANCES[name], Kind.CLIENT)
    assert (len(one_by_one) == 0) is (name in SHORT)
    monkeypatch.setattr("sockets.presence.redis.is_cluster", lambda client: True)
    long = await renewed(Place(client, "long"), DISTURBANCES[name], Kind.CLIENT)
    assert short[0] == long[0]
    assert short[1] == long[1]


async def test_workers_are_renewed_one_by_one(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = calls_of(RENEW, monkeypatch)
    found, effects = await renewed(Place(client, "w"), nothing, Kind.WORKER)
    assert len(one_by_one) == 1 and effects == Effects()
    assert len(found[":worker:{42}:sessions"][0]) == 2


async def test_one_user_whose_keys_are_broken_stops_no_other(
    client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(client, "p")
    infos = [info(f"u{n}", connected_at=NOON) for n in range(2 * AT_ONCE + 3)]
    for one in infos:
        await place.presence.register(one, NODE)
        await answer(
            place.client.hdel(place.key("state", one.user), f"unsaid:{int(NOON * 1000) + 1}")
        )
    await client.delete(place.key("revoked", "u7"))
    await client.set(place.key("state", "u7"), "not a hash")
    place.clock.now += 5
    await place.presence.renew(infos, NODE)
    assert caplog.text.count("the lease of user 'u7' cannot be renewed: WRONGTYPE") == 1
    await place.presence.renew([infos[7]], NODE)  # no reason to give up the round either
    for one in infos:
        end = await client.zscore(place.key("sessions", one.user), one.id)
        assert end == NOON + (LEASE if one.user == "u7" else LEASE + 5), one.user


async def test_extending_again_changes_nothing_but_the_time(client: Redis) -> None:
    """A call that was cut off is repeated."""
    place = Place(client, "p")
    one = info("42", connected_at=NOON)
    await place.presence.register(one, NODE)
    await announced(place, one)
    before = await held(client, "p")
    place.clock.now += 5
    calls = PresenceCalls(Keys("p"), lease=LEASE, grace=GRACE, limit=Limit(), clock=place.clock)
    for _ in range(2):
        await EXTEND.run(client, calls.extend([("42", [one])]))
    after = await held(client, "p")
    assert after[":{42}:sessions"][0] == [(one.id.encode(), NOON + 5 + LEASE)]
    del before[":{42}:sessions"], after[":{42}:sessions"]
    assert before == after


# --- streams


@dataclass
class Record:
    """One user's stream in a namespace, and what a node knows of it."""

    client: Redis
    namespace: str
    clock: MovedClock
    known: Known | None = None

    def key(self, part: str) -> str:
        return f"{self.namespace}:{{42}}:{part}"

    def streams(self) -> RedisStreams:
        """Of a process that knows nothing yet."""
        calls = StreamCalls(
            Keys(self.namespace),
            size=3,
            ttl=100.0,
            record_ttl=1_000.0,
            idempotency_ttl=50.0,
            clock=self.clock,
        )
        return RedisStreams(self.client, calls)

    async def append(self, id: str, **given: Any) -> None:
        entry = NewEntry(id=id, event="e", body=b'{"id":"%s","event":"e"}' % id.encode(), **given)
        position = (await self.streams().append("42", entry)).position
        self.known = Known(position, mark_of(entry.body))


Change = Callable[[Record], Awaitable[object]]


async def unchanged(record: Record) -> None:
    pass


async def appended(record: Record) -> None:
    known = record.known
    await record.append("C")
    record.known = known


async def went_back(record: Record) -> None:
    assert record.known is not None
    position = record.known.position
    record.known = Known(Position(position.epoch, position.offset + 3), b"")


async def has_another_message(record: Record) -> None:
    assert record.known is not None
    record.known = Known(record.known.position, b'{"id":"X"')


async def mark_is_not_known(record: Record) -> None:
    assert record.known is not None
    record.known = Known(record.known.position)


async def nothing_is_known(record: Record) -> None:
    record.known = None


async def another_epoch(record: Record) -> None:
    assert record.known is not None
    record.known = Known(Position("former", record.known.position.offset))


async def used_long_ago(record: Record) -> None:
    record.clock.now += 11


async def record_is_over(record: Record) -> None:
    record.clock.now += 1_001


async def record_is_gone(record: Record) -> None:
    await record.client.delete(record.key("meta"))


async def only_asked(record: Record) -> None:
    await record.client.delete(*await record.client.keys(f"{record.namespace}:*"))
    position = await record.streams().head("42")
    record.known = Known(position)


async def another_server(record: Record) -> None:
    await answer(record.client.hset(record.key("meta"), "run", "f" * 40))


async def of_the_version_before(record: Record) -> None:
    await answer(record.client.hdel(record.key("meta"), "last"))


CHANGES: dict[str, Change] = {
    "unchanged": unchanged,
    "appended": appended,
    "went back": went_back,
    "another message": has_another_message,
    "mark not known": mark_is_not_known,
    "nothing known": nothing_is_known,
    "another epoch": another_epoch,
    "used long ago": used_long_ago,
    "record over": record_is_over,
    "record gone": record_is_gone,
    "only asked": only_asked,
    "another server": another_server,
    "of the version before": of_the_version_before,
}

SAME = {"unchanged", "mark not known"}


def without_epochs(found: dict[str, Any]) -> dict[str, Any]:
    """Epochs are drawn, and receipts have them."""
    found = {key: value for key, value in found.items() if ":idem:" not in key}
    content, ends = found[":{42}:meta"]
    content = {
        name: b"drawn" if name in (b"epoch", b"was") else value for name, value in content.items()
    }
    return found | {":{42}:meta": (content, ends)}


async def compared(record: Record, change: Change) -> tuple[dict[str, Any], int, bool]:
    for id in ("A", "B"):
        await record.append(id)
    await change(record)
    known = {} if record.known is None else {"42": record.known}
    head = (await record.streams().heads(["42"], known))["42"]
    found = await held(record.client, record.namespace)
    same = record.known is not None and head.epoch == record.known.position.epoch
    return without_epochs(found), head.offset, same


@pytest.mark.parametrize("name", CHANGES)
async def test_comparing_many_is_opening_each(
    client: Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "OPENED_ANYWAY", 0.0)
    opened = calls_of(streams_module._FOLLOW, monkeypatch)
    short = await compared(Record(client, "short", MovedClock()), CHANGES[name])
    assert (len(opened) == 0) is (name in SAME)
    monkeypatch.setattr(streams_module, "is_cluster", lambda client: True)
    long = await compared(Record(client, "long", MovedClock()), CHANGES[name])
    assert short == long


async def test_what_is_over_is_removed_at_last(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(client, "p", MovedClock())
    await record.append("A", ttl=5.0)
    record.clock.now += 6
    assert record.known is not None
    known = {"42": record.known}
    monkeypatch.setattr(streams_module, "OPENED_ANYWAY", 0.0)
    await record.streams().heads(["42"], known)
    assert await client.zcard(record.key("stream")) == 1
    monkeypatch.setattr(streams_module, "OPENED_ANYWAY", 1.0)
    await record.streams().heads(["42"], known)
    assert await client.zcard(record.key("stream")) == 0


async def test_many_are_compared_at_once(
    client: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams_module, "OPENED_ANYWAY", 0.0)
    record = Record(client, "p", MovedClock())
    users = [f"u{n}" for n in range(2 * AT_ONCE + 3)]
    streams = record.streams()
    for user in users:
        await streams.append(user, NewEntry(id="A", event="e", body=b'{"id":"A"}'))
    await client.set("p:{u7}:meta", "not a hash")
    heads = await streams.heads(users)
    assert set(heads) == {*users} - {"u7"}
    assert {head.offset for head in heads.values()} == {1}
    assert caplog.text.count("the stream of user 'u7' cannot be compared: WRONGTYPE") == 1
    assert await streams.heads(["u7"]) == {}, "no reason to give up the round"
