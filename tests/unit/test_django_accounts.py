"""What happens to Django's users happens to their sessions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import authenticate, logout
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest

from sockets import django_accounts as accounts
from sockets.exceptions import GatewayUnavailable
from sockets.types import PresenceAnswer, PresenceState, UserPresence

pytestmark = pytest.mark.django_db(transaction=True)
Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Whom the gateway was asked to revoke; all but the users of odd ids are connected."""
    found: Told = []

    def look(users: list[str]) -> PresenceAnswer:
        states = (PresenceState.CONNECTED, PresenceState.OFFLINE)
        return PresenceAnswer({u: UserPresence(u, states[int(u) % 2]) for u in users})

    monkeypatch.setattr(accounts, "revoke", lambda user, **what: found.append((user, what)))
    monkeypatch.setattr(accounts, "presence_of_users", look)
    accounts.connect()
    accounts.connect()
    yield found
    accounts.disconnect()


@pytest.fixture
def user(told: Told) -> User:
    made = User.objects.create_user("kim", password="first")
    assert told == [], "nobody can be connected who was not there"
    return made


def test_a_logout_ends_its_login(user: User, told: Told) -> None:
    request = HttpRequest()
    request.session = SessionStore()
    request.session.save()
    request.user = user
    key = request.session.session_key
    assert key is not None
    logout(request)
    assert told == [(str(user.pk), {"sid": accounts.login_id(key)})]
    assert key not in accounts.login_id(key) and len(accounts.login_id(key)) == 32
    logout(request)  # nobody is logged in any more
    assert len(told) == 1


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"is_staff": True}, {"is_superuser": True}, {"password": "x"}]
)
def test_what_a_user_is_has_changed(user: User, told: Told, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(user, name, value)
    user.save()
    assert told == [(str(user.pk), {})]
    user.save()
    assert len(told) == 1


def test_what_has_nothing_to_do_with_it(user: User, told: Told) -> None:
    user.first_name = "Kim"
    user.save()
    user.is_active = False
    user.save(update_fields=["first_name", "last_login"])
    assert told == []


def test_a_new_password(user: User, told: Told) -> None:
    user.set_password("second")
    user.save(update_fields=["password"])
    assert told == [(str(user.pk), {})]


def test_a_login_that_hashes_the_password_anew_is_no_change(
    user: User, told: Told, settings: Any
) -> None:
    before = user.password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    assert authenticate(username="kim", password="first") is not None
    user.refresh_from_db()
    assert user.password != before and told == []


def test_a_user_who_is_deleted(user: User, told: Told) -> None:
    id = str(user.pk)
    user.delete()
    assert told == [(id, {})]


def test_only_what_is_committed_counts(user: User, told: Told) -> None:
    with pytest.raises(KeyError), transaction.atomic():
        user.is_active = False
        user.save()
        raise KeyError
    assert told == []


def test_rights_of_a_user(user: User, told: Told) -> None:
    group, permission = Group.objects.create(name="g"), Permission.objects.all()[0]
    user.groups.add(group)
    user.groups.add(group)  # again: nothing changes
    user.user_permissions.add(permission)
    user.user_permissions.remove(permission)
    user.groups.clear()
    assert told == [(str(user.pk), {})] * 4
    group.user_set.add(user)
    assert len(told) == 5


def test_rights_of_a_group_concern_those_who_are_connected(told: Told) -> None:
    group, permission = Group.objects.create(name="g"), Permission.objects.all()[0]
    users = [User.objects.create_user(f"u{n}") for n in range(4)]
    group.user_set.set(users)
    told.clear()
    connected: list[tuple[str, dict[str, str]]] = [
        (str(user.pk), {}) for user in users if user.pk % 2 == 0
    ]
    group.permissions.add(permission)
    assert told == connected
    permission.group_set.remove(group)
    assert told == connected * 2
    group.permissions.add(permission)
    permission.group_set.clear()
    assert told == connected * 4
    group.user_set.clear()
    assert told == connected * 5


def test_a_gateway_that_is_away_stops_no_logout(
    user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(user: str, **what: Any) -> None:
        raise GatewayUnavailable("Redis does not answer")

    monkeypatch.setattr(accounts, "revoke", away)
    user.is_active = False
    user.save()
    (line,) = [one for one in caplog.records if one.name == "sockets.django_accounts"]
    assert line.levelno == logging.ERROR and f"user {user.pk}" in line.getMessage()
