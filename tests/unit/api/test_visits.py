"""When a user came and went, from rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from sockets.api import visits
from sockets.api.visits import MOST, visits_of
from sockets.base.ids import new_id
from sockets.conf import get_conf
from sockets.models import Session
from sockets.recorder.rows import stored_user

BEGIN = datetime(2027, 1, 1, tzinfo=UTC)


def row(number: int, user: str = "kim", **given: object) -> Session:
    values = {"kind": "client", "client_id": new_id(), "node": "here", "agent": "Firefox"}
    at = BEGIN + timedelta(minutes=number)
    return Session(id=new_id(), user=user, connected_at=at, **values | given)


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    conf = replace(get_conf(), history=True)
    monkeypatch.setattr(visits, "get_conf", lambda: conf)


@pytest.mark.django_db(transaction=True)
def test_the_newest_are_told() -> None:
    left = BEGIN + timedelta(hours=9)
    Session.objects.bulk_create([row(number) for number in range(MOST + 5)])
    last = row(99, disconnected_at=left, close_code=4003, close_reason="expired")
    Session.objects.bulk_create([last, row(100, "other"), row(101, kind="worker")])
    found = visits_of("kim")
    assert len(found) == MOST and found[1].disconnected_at is None
    assert (found[0].session, found[0].close_code, found[0].close_reason) == (
        last.id,
        4003,
        "expired",
    )
    assert (found[0].connected_at, found[0].disconnected_at) == (
        last.connected_at.timestamp(),
        left.timestamp(),
    )


def test_none_where_no_history_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "get_conf", lambda: replace(get_conf(), history=False))
    monkeypatch.delattr(visits, "_rows")
    assert visits_of("kim") == []


def test_none_where_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(user: str) -> None:
        raise OperationalError

    monkeypatch.setattr(visits, "_rows", away)
    monkeypatch.setattr(visits, "tidy_connections", lambda: None)
    assert visits_of("kim") == []


@pytest.mark.django_db(transaction=True)
def test_an_id_is_looked_for_as_its_column_holds_it() -> None:
    user = "a\x00b"
    row(1, stored_user(user)).save(force_insert=True)
    assert len(visits_of(user)) == 1
