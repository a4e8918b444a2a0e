"""Rows of one user go, whatever the id is made of; those of others, and of later, stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import OperationalError, connection

from sockets.exceptions import GatewayUnavailable
from sockets.models import GatewayUser, Session
from sockets.recorder import erasing
from sockets.recorder.erasing import FORGOTTEN, erase_rows

NOW = 1_800_000_000.0


def row(number: int, user: str = "42", *, at: float = NOW, kind: str = "client") -> Session:
    return Session(
        id=f"01{number:024d}",
        kind=kind,
        user=user,
        client_id="C",
        node="here",
        connected_at=datetime.fromtimestamp(at, UTC),
    )


@pytest.mark.django_db
def test_the_rows_of_one_user_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "STEP", 2)
    Session.objects.bulk_create(row(n) for n in range(5))
    others = [row(5, "43"), row(6, kind="worker"), row(7, at=NOW + 1)]
    Session.objects.bulk_create(others)
    assert erase_rows("42", NOW) == 5
    assert erase_rows("42", NOW) == 0
    assert {one.id for one in Session.objects.all()} == {one.id for one in others}


@pytest.mark.django_db
@pytest.mark.parametrize("user", ["kim@example.com", "a\x00b", "한" * 341])
def test_they_are_found_as_they_were_written(user: str) -> None:
    from sockets.recorder.rows import stored_user

    row(1, stored_user(user)).save(force_insert=True)
    assert erase_rows(user, NOW) == 1


def away(execute: Any, sql: str, params: Any, many: bool, context: Any) -> None:
    raise OperationalError("it is gone\nDETAIL: a statement")


@pytest.mark.django_db
def test_a_database_that_does_not_take_it_is_said() -> None:
    with connection.execute_wrapper(away), pytest.raises(GatewayUnavailable) as told:
        erase_rows("42", NOW)
    assert (told.value.outcome, told.value.detail) == ("unknown", "it is gone")


@pytest.mark.django_db
def test_the_log_of_the_admin_names_them_no_more(django_user_model: Any) -> None:
    ann = django_user_model.objects.create_user("ann")
    mine, other = row(1), row(2, "421")
    for entry in (GatewayUser(id="42"), GatewayUser(id="421"), mine, other):
        LogEntry.objects.log_actions(ann.pk, [entry], CHANGE, "Blocked by an operator")
    erase_rows("42", NOW)
    told = LogEntry.objects.order_by("pk").values_list("object_id", "object_repr")
    assert list(told) == [
        (None, FORGOTTEN),
        ("421", "421"),
        (mine.id, FORGOTTEN),
        (other.id, str(other)),
    ]
    assert set(LogEntry.objects.values_list("user", flat=True)) == {ann.pk}, "who did it stays"
