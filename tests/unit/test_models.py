"""The rows of history: what their properties say, and that the migrations are complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.utils import timezone

from sockets.models import OPEN, Node, Session

CONNECTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def session(number: int = 1, **given: object) -> Session:
    values: dict[str, object] = {
        "id": f"01{number:024d}",
        "kind": "client",
        "user": "42",
        "client_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "node": "here",
        "connected_at": CONNECTED,
    }
    return Session(**values | given)


def test_an_ended_session() -> None:
    row = session(disconnected_at=CONNECTED + timedelta(minutes=3, seconds=12), close_code=1000)
    assert not row.live
    assert row.duration == timedelta(minutes=3, seconds=12)


def test_a_live_session_lasts_until_now() -> None:
    row = session(connected_at=timezone.now() - timedelta(hours=1))
    assert row.live
    assert timedelta(hours=1) <= row.duration < timedelta(hours=1, minutes=1)


def test_a_clock_that_went_back_gives_no_negative_duration() -> None:
    assert session(disconnected_at=CONNECTED - timedelta(seconds=1)).duration == timedelta(0)


def test_names() -> None:
    row = session(user="김철수", address="10.0.0.1:5", agent="curl")
    assert str(row) == f"client 김철수 ({row.id})"
    assert str(session(user="x" * 1024)) == f"client {'x' * 47}… ({row.id})"
    assert str(Node(name="gateway-1", client_url="ws://secret@host/")) == "gateway-1"


@pytest.mark.django_db
def test_newest_first_and_the_key_breaks_ties() -> None:
    older = session(1, connected_at=CONNECTED - timedelta(days=1))
    Session.objects.bulk_create([session(2), older, session(3)])
    assert [row.id[-1] for row in Session.objects.all()] == ["3", "2", "1"]


@pytest.mark.django_db
def test_open_rows() -> None:
    Session.objects.bulk_create([session(1), session(2, disconnected_at=CONNECTED)])
    assert [row.id[-1] for row in Session.objects.filter(OPEN)] == ["1"]


@pytest.mark.django_db
def test_permissions_that_staff_can_be_given() -> None:
    of_session = Permission.objects.filter(content_type__app_label="sockets")
    names = set(of_session.values_list("codename", flat=True))
    assert {"disconnect_session", "view_session", "view_node"} <= names


@pytest.mark.django_db
def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "sockets", check=True, dry_run=True, verbosity=0)
