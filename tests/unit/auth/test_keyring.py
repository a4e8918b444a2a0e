"""The keys of the database: known at once, ended soon, and served while the database is away."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from django.db import OperationalError

from sockets.auth import keyring
from sockets.auth.handshake import Handshake, parse
from sockets.auth.keyring import KeyRing, authenticate_worker
from sockets.auth.keys import Key, Use, hash_of, make_secret
from sockets.auth.scopes import WORKERS
from sockets.base import audit
from sockets.conf import Conf
from sockets.exceptions import Forbidden, TryAgainLater, Unauthorized
from sockets.types import Credentials
from tests.support.doubles import scope_of, until

CONF = Conf(
    worker_keys={"env": hash_of("secret-1")}, api_keys={"back": hash_of("b")}, keys_refresh=3_600
)


def new_key(name: str = "maker", *scopes: str, expires_at: float | None = None) -> tuple[Key, str]:
    id, secret = make_secret()
    wanted = frozenset(scopes or ("notify",))
    return Key(name, wanted, id, hash_of(secret), expires_at), secret


class Database:
    """`keys` is what it holds; `error`: it is away; `gate`: it hangs until it is set."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.reads = 0
        self.used: list[dict[str, float]] = []
        self.now = 1_000.0

    def add(self, key: Key) -> None:
        self.keys = {**self.keys, key.id: key}

    def load(self) -> Mapping[str, Key]:
        self.reads += 1
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return self.keys

    def note_used(self, used: Mapping[str, float]) -> None:
        self.used.append(dict(used))

    def clock(self) -> float:
        return self.now

    def ring(self, conf: Conf = CONF) -> KeyRing:
        return KeyRing(
            conf,
            load=self.load,
            note_used=self.note_used,
            clock=self.clock,
        )


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.gate.set()


@pytest.fixture
def ring(database: Database) -> Iterator[KeyRing]:
    made = database.ring()
    yield made
    database.gate.set()
    made.close()


async def find(ring: KeyRing, secret: str) -> Key | None:
    return await ring.find(secret, Use.API)


async def test_a_new_key_is_known_at_once(database: Database, ring: KeyRing) -> None:
    key, secret = new_key()
    assert await find(ring, secret) is None
    database.add(key)
    assert await find(ring, secret) == key
    assert ring.is_live(key.id)


async def test_a_key_of_the_environment_may_have_the_form_of_the_others(database: Database) -> None:
    _, secret = new_key()
    ring = database.ring(replace(CONF, worker_keys={"env": hash_of(secret)}))
    assert await ring.find(secret, Use.WORKER) == Key("env", WORKERS)
    assert database.reads == 0
    ring.close()


async def test_the_secret_counts_and_not_its_id_alone(database: Database, ring: KeyRing) -> None:
    key, secret = new_key()
    database.add(key)
    forged = secret[:12] + ("A" if secret[12] != "A" else "B") + secret[13:]
    assert await find(ring, forged) is None
    reads = database.reads
    for _ in range(50):
        assert await find(ring, forged) is None
    assert database.reads == reads, "a known id needs no other reading"


async def test_invented_ids_cost_one_reading_a_second(
    database: Database, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "MIN_INTERVAL", 0.3)
    attempts = [find(ring, new_key()[1]) for _ in range(500)]
    assert await asyncio.gather(*attempts) == [None] * 500
    assert database.reads <= 2
    key, secret = new_key()
    database.add(key)
    attempts = [find(ring, new_key()[1]) for _ in range(500)]
    *_, found = await asyncio.gather(*attempts, find(ring, secret))
    assert found == key, "and hide no new key"
    assert database.reads <= 4


async def test_a_reading_that_began_before_is_not_the_last_word(
    database: Database, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "MIN_INTERVAL", 0.01)
    key, secret = new_key()
    read = threading.Event()

    def slow() -> Mapping[str, Key]:
        known = database.load()
        if database.reads == 1:
            read.set()
            database.gate.clear()
            threading.Event().wait(0.1)
            database.gate.set()
        return known

    ring._load = slow
    first = asyncio.ensure_future(find(ring, new_key()[1]))
    await until(read.is_set)
    database.add(key)
    assert await find(ring, secret) == key
    assert await first is None


async def test_keys_end_by_the_clock(database: Database, ring: KeyRing) -> None:
    key, secret = new_key(expires_at=1_010.0)
    database.add(key)
    assert await find(ring, secret) == key
    database.now = 1_010.0
    assert await find(ring, secret) is None
    assert not ring.is_live(key.id)


async def test_a_key_that_ended_is_gone_at_the_next_reading(database: Database) -> None:
    seen: list[bool] = []
    key, secret = new_key()
    database.add(key)
    ring = database.ring()
    ring.listen(lambda: seen.append(ring.is_live(key.id)))
    running = asyncio.ensure_future(ring.run())
    assert await find(ring, secret) == key
    database.keys = {}
    ring.hurry()
    await until(lambda: True in seen and not seen[-1])
    assert await find(ring, secret) is None
    running.cancel()
    ring.close()


async def test_a_change_during_a_reading_is_read_again(database: Database) -> None:
    database.gate.clear()
    ring = database.ring()
    running = asyncio.ensure_future(ring.run())
    await until(lambda: database.reads)
    ring.hurry()
    database.gate.set()
    await until(lambda: database.reads >= 2)
    running.cancel()
    ring.close()


async def test_while_the_database_is_away_known_keys_serve(
    database: Database, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    key, secret = new_key()
    database.add(key)
    assert await find(ring, secret) == key
    database.error = OperationalError("it is gone")
    ring._begin()
    await ring._until_read()
    ring._begin()
    await ring._until_read()
    assert await find(ring, secret) == key
    assert await find(ring, "b") == Key("back", frozenset({*WORKERS, "messages", "admin", "call"}))
    with pytest.raises(TryAgainLater, match="database"):
        await find(ring, new_key()[1])  # nobody knows: not a word that would end a worker
    told = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 1 and "it is gone" in told[0].getMessage()
    assert "1 known ones serve" in told[0].getMessage()

    database.error = None
    ring._begin()
    await ring._until_read()
    assert await find(ring, new_key()[1]) is None


async def test_a_database_that_hangs_keeps_nobody_for_ever(
    database: Database, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "TIMEOUT", 0.05)
    database.gate.clear()
    with pytest.raises(TryAgainLater):
        await find(ring, new_key()[1])
    for _ in range(20):
        with pytest.raises(TryAgainLater):
            await find(ring, new_key()[1])
    assert database.reads == 1, "no second thread waits for it"


async def test_uses_are_written_once_a_minute(database: Database, ring: KeyRing) -> None:
    key, secret = new_key()
    database.add(key)
    assert await find(ring, secret) == key

    async def use_and_read(at: float) -> None:
        database.now = at
        ring.used(key, Use.API, "10.0.0.1")
        ring._begin()
        await ring._until_read()

    await use_and_read(1_000.0)
    await use_and_read(1_030.0)
    assert database.used == [{key.id: 1_000.0}]
    await use_and_read(1_061.0)
    assert database.used == [{key.id: 1_000.0}, {key.id: 1_061.0}]


async def test_uses_are_audited_once_a_minute_and_place(
    ring: KeyRing, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(audit, "record", lambda kind, /, **more: lines.append(more))
    key, secret = new_key()
    for at, use in ((0, Use.API), (30, Use.API), (30, Use.WORKER), (61, Use.API)):
        database.now = 1_000.0 + at
        ring.used(key, use, "10.0.0.1")
    assert [line["surface"] for line in lines] == ["api", "worker", "api"]
    assert secret not in str(lines)
    assert key.hash not in str(lines)


def test_the_rate_of_a_key_is_its_own(database: Database) -> None:
    ring = database.ring(replace(CONF, api_rate=1.0, api_burst=3))
    one, other = new_key("one")[0], new_key("one")[0]
    assert [ring.wait_of(one) > 0 for _ in range(4)] == [False, False, False, True]
    assert ring.wait_of(other) == 0
    assert 0 < ring.wait_of(one) <= 1
    ring.close()
    without = database.ring(replace(CONF, api_rate=0))
    assert not any(without.wait_of(one) for _ in range(10_000))
    without.close()


def test_wrong_keys_of_an_address_are_counted(ring: KeyRing) -> None:
    waits = [ring.wait_after_failure("10.0.0.1") for _ in range(50)]
    assert not any(waits[:20]) and all(waits[25:])
    assert ring.wait_after_failure("10.0.0.2") == 0
    waits = [ring.wait_after_failure(f"2001:db8::{n:x}") for n in range(50)]
    assert all(waits[25:]), "of IPv6 one customer has many"


# Workers.


def hand(query: str = "", **headers: str) -> Handshake:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return parse(scope_of(query, headers=raw))


async def test_a_worker_is_known_by_its_key(database: Database, ring: KeyRing) -> None:
    known = await authenticate_worker(hand(authorization="Bearer secret-1"), ring)
    assert known == Credentials("env", "key", scopes=WORKERS)
    key, secret = new_key("render", "notify", "tasks:a")
    database.add(key)
    known = await authenticate_worker(hand(authorization=f"Bearer {secret}"), ring)
    assert known == Credentials("render", "key", jti=key.id, scopes=key.scopes)


async def test_a_key_that_is_for_operators_only_is_no_workers(
    database: Database, ring: KeyRing
) -> None:
    key, secret = new_key("ops", "admin")
    database.add(key)
    with pytest.raises(Forbidden, match="HTTP API"):
        await authenticate_worker(hand(authorization=f"Bearer {secret}"), ring)


async def test_a_request_of_a_browser_is_refused_whatever_its_key(ring: KeyRing) -> None:
    for origin in ("https://example.com", "null", ""):
        with pytest.raises(Forbidden, match="browsers"):
            await authenticate_worker(hand(origin=origin, authorization="Bearer secret-1"), ring)


@pytest.mark.parametrize("query", ["token=secret-1", "key=secret-1"])
async def test_a_key_is_never_read_from_the_query(database: Database, query: str) -> None:
    ring = database.ring(replace(CONF, query_token=True))
    with pytest.raises(Unauthorized, match="no key: send Authorization"):
        await authenticate_worker(hand(query), ring)
    ring.close()


async def test_an_unknown_key_is_not_quoted(ring: KeyRing) -> None:
    for secret in ("wrong-one", new_key()[1], "b"):
        with pytest.raises(Unauthorized, match="not known") as caught:
            await authenticate_worker(hand(authorization=f"Bearer {secret}"), ring)
        assert secret not in str(caught.value) or secret == "b"
