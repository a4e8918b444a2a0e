"""The cookie of a Django session is read off the loop, within bounds, and faults are told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError

from sockets.auth import django_sessions
from sockets.auth.django_sessions import DjangoSessions
from sockets.auth.handshake import Handshake, parse
from sockets.conf import Conf, WrongSettings
from sockets.exceptions import TryAgainLater, Unauthorized
from sockets.protocol.places import Places
from sockets.types import Credentials
from tests.support.doubles import drop_table, make_table, scope_of, until

pytestmark = pytest.mark.django_db(transaction=True)
KEY = "a" * 32
TABLES = Conf(auth=("session",), sessions="tables")


def hand(key: str = KEY, address: str = "192.0.2.7") -> Handshake:
    origin = b"http://localhost:4000"
    headers = [(b"host", b"localhost:4000"), (b"origin", origin)]
    headers.append((b"cookie", f"sessionid={key}".encode()))
    return parse(scope_of("", headers=headers, client=[address, 50_000]))


@pytest.fixture
async def auth() -> AsyncIterator[DjangoSessions]:
    made = DjangoSessions(TABLES)
    yield made
    made.close()


def raising(error: Exception) -> Any:
    def read(key: str) -> Credentials:
        raise error

    return read


async def test_a_cookie_with_a_nul_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL would say that it is no text, which is not a database that is away. A cookie may
    hold one: in quotes, in octal."""
    auth = DjangoSessions(Conf(auth=("session",)))
    monkeypatch.setattr(auth._reader, "cookie", "sessionid")
    monkeypatch.setattr(auth._reader, "read", raising(DatabaseError("no text")))
    with pytest.raises(Unauthorized):
        await auth.ask(hand(f'"{KEY}\\000"'))
    auth.close()


async def test_the_database_is_away(
    auth: DjangoSessions,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(auth._reader, "read", raising(DatabaseError("no server")))
    for _ in range(3):
        with pytest.raises(TryAgainLater):
            await auth.ask(hand())
    assert caplog.text.count("no server") == 1 and KEY not in caplog.text, "once a minute"


async def test_a_database_that_hangs_has_a_bound(
    auth: DjangoSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(django_sessions, "TIMEOUT", 0.05)
    auth._waiting = Places(6, 4)
    monkeypatch.setattr(auth._reader, "read", lambda key: gate.wait(20))
    handshake = hand()
    for taken in (1, 2, 3, 4, 4, 4):  # the last two do not even wait
        with pytest.raises(TryAgainLater):
            await auth.ask(handshake)
        assert auth._waiting.taken == taken
    elsewhere = hand(address="192.0.2.8")
    for taken in (5, 6, 6):  # one stranger's share is not all of it
        with pytest.raises(TryAgainLater):
            await auth.ask(elsewhere)
        assert auth._waiting.taken == taken
    gate.set()
    await until(lambda: not auth._waiting.taken)


# --- tables that are not there


@pytest.fixture
async def no_sessions() -> AsyncIterator[None]:
    await asyncio.to_thread(drop_table, Session)
    yield
    await asyncio.to_thread(make_table, Session)


async def test_a_node_does_not_start_without_the_tables(
    auth: DjangoSessions, no_sessions: None
) -> None:
    """Rule 9."""
    with pytest.raises(WrongSettings, match=r"AUTH: .* no django_session .*AUTH=jwt or AUTH=proxy"):
        await auth.check()
    project = DjangoSessions(Conf(auth=("session",)))
    await project.check()
    project.close()


async def test_it_starts_with_them_and_without_a_database_that_answers(
    auth: DjangoSessions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 9."""
    await auth.check()
    assert not caplog.records
    monkeypatch.setattr(django_sessions, "missing_tables", raising(OperationalError("no server")))
    await auth.check()
    assert "starting without the database of sessions: no server" in caplog.text


async def test_a_table_that_goes_later_is_no_database_that_is_away(
    auth: DjangoSessions, no_sessions: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 9: 4501 for each socket, and one line a minute."""
    for _ in range(3):
        with pytest.raises(Unauthorized, match="use a token"):
            await auth.ask(hand())
    (line,) = [one for one in caplog.records if one.name == "sockets.auth.django_sessions"]
    assert line.levelno == logging.ERROR and "no table django_session" in line.getMessage()
    assert await auth.owners([KEY]) == {}, "whoever is in stays"


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (OperationalError("database is locked"), TryAgainLater),
        (OperationalError("the connection was closed"), TryAgainLater),
        (InterfaceError("connection already closed"), TryAgainLater),
        (ProgrammingError("permission denied for table auth_user"), Unauthorized),
    ],
)
async def test_what_will_mend_by_itself(
    auth: DjangoSessions,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    refusal: type[Exception],
) -> None:
    """Rule 9: 1013 only for a database that is away, or busy."""
    monkeypatch.setattr(auth._reader, "read", raising(error))
    with pytest.raises(refusal):
        await auth.ask(hand())
    assert await auth.owners([KEY]) == {}


async def test_whose_sessions_these_are(
    auth: DjangoSessions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 7: one that cannot be read now is nobody's fault, and ends the turn. One about which a
    backend of the project raises keeps no other from its end."""

    def read(key: str) -> Credentials:
        if key == "failing":
            raise RuntimeError("a backend of the site failed")
        if key == "ended":
            raise Unauthorized("over")
        if key == "away":
            raise TryAgainLater("away")
        return Credentials("42", "session")

    monkeypatch.setattr(auth._reader, "read", read)
    assert await auth.owners(["a", "ended", "away", "b"]) == {"a": "42", "ended": None}
    assert await auth.owners(["failing", "a", "failing", "ended"]) == {"a": "42", "ended": None}
    told = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(told) == 1, "once a minute"
    auth.close()
    assert await auth.owners(["a"]) == {}
