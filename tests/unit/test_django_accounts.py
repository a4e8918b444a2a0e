"""What happens to Django's users happens to their sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import authenticate, logout
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.signals import post_migrate
from django.http import HttpRequest

from sockets import django_accounts as accounts
from sockets.api import briefly
from sockets.auth.logins import LOGIN, sid_of
from sockets.base.rate import Seldom
from sockets.exceptions import GatewayUnavailable
from sockets.types import PresenceAnswer, PresenceState, UserPresence

pytestmark = pytest.mark.django_db(transaction=True)
Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Whom the gateway was asked to revoke; all but the users of odd ids are connected."""
    found: Told = []

    async def look(users: list[str]) -> PresenceAnswer:
        states = (PresenceState.CONNECTED, PresenceState.OFFLINE)
        return PresenceAnswer({u: UserPresence(u, states[int(u) % 2]) for u in users})

    async def note(user: str, **what: Any) -> None:
        found.append((user, what))

    monkeypatch.setattr(accounts, "arevoke", note)
    monkeypatch.setattr(accounts, "apresence_of_users", look)
    monkeypatch.setattr(accounts, "briefly", lambda work, whom: asyncio.run(work()))
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


def test_a_logout_ends_its_login_by_both_of_its_names(user: User, told: Told) -> None:
    """Rules 7 and 8: sockets have the first, tokens of the project's own may have the second."""
    request = HttpRequest()
    request.session, request.user = SessionStore(), user
    request.session[LOGIN] = "value"
    request.session.save()
    sid, key = sid_of(request.session, None), request.session.session_key
    assert key is not None
    logout(request)
    both = [(str(user.pk), {"sid": one}) for one in sorted([sid, accounts.login_id(key)])]
    assert told == both


def test_a_logout_without_a_session_is_nobodys(user: User, told: Told) -> None:
    request = HttpRequest()
    request.user = user
    user_logged_out.send(User, request=request, user=user)
    request.session = SessionStore()
    user_logged_out.send(User, request=request, user=user)
    assert told == []


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


def test_a_password_that_is_taken_away(user: User, told: Told) -> None:
    """Its sessions count no more at the site."""
    user.set_unusable_password()
    user.save(update_fields=["password"])
    assert told == [(str(user.pk), {})]
    user.password = make_password("second")
    user.save(update_fields=["password"])
    user.password = make_password("third")
    user.save(update_fields=["password"])
    assert len(told) == 3, "and one that is written by hand"


@pytest.fixture
def customers(told: Told) -> Iterator[type[User]]:
    """A proxy, as a list of the admin's own has one."""

    class Customer(User):
        class Meta:
            app_label = "sockets"
            proxy = True

    accounts.connect()  # it is there by now
    yield Customer
    accounts.disconnect()
    del apps.all_models["sockets"]["customer"]
    apps.clear_cache()


def test_a_proxy_of_the_user_model_is_no_way_round(
    user: User, told: Told, customers: type[User]
) -> None:
    """Rule 8: Django sends the signals of a proxy in its own name."""
    customer = customers.objects.get(pk=user.pk)
    customer.is_active = False
    customer.save()
    assert told == [(str(user.pk), {})]
    customer.delete()
    assert told == [(str(user.pk), {})] * 2


def test_a_logout_waits_for_the_database_of_the_session(
    user: User, told: Told, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`default` may be empty, where routers know better."""
    asked: list[Any] = []

    class Router:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            asked.append(model)
            return "elsewhere"

    settings.DATABASE_ROUTERS = [Router()]
    monkeypatch.setattr(
        transaction, "on_commit", lambda work, using, robust: asked.append((using, robust))
    )
    request = HttpRequest()
    for session in (SessionStore("k" * 32), CacheStore("k" * 32)):
        request.session = session
        user_logged_out.send(User, request=request, user=user)
    assert asked == [Session, ("elsewhere", True), User, ("elsewhere", True)]


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
    """Rule 8: here it is in memory mode, and no node runs."""
    monkeypatch.setattr(accounts, "briefly", briefly.briefly)
    monkeypatch.setattr(briefly, "_complaints", Seldom(60))
    for _ in range(3):
        user.is_active = not user.is_active
        user.save()
    (line,) = [one for one in caplog.records if one.name == "sockets.api.briefly"]
    assert line.levelname == "WARNING" and f"user {user.pk} may be" in line.getMessage()


def test_one_who_fails_keeps_no_other_connected(
    monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    users: list[tuple[str, dict[str, str]]] = [(str(n), {}) for n in range(2 * accounts.AT_ONCE)]
    tried: list[str] = []

    async def away(user: str, **what: Any) -> None:
        tried.append(user)
        if int(user) % 2:
            raise GatewayUnavailable(f"no shard of {user}")

    monkeypatch.setattr(accounts, "arevoke", away)
    with pytest.raises(GatewayUnavailable, match=r"no shard of 1$"):
        asyncio.run(accounts._revoke_each(users))
    assert len(tried) == len(users)
    tried.clear()
    with pytest.raises(GatewayUnavailable):
        asyncio.run(accounts._revoke_each([(str(2 * n + 1), {}) for n in range(200)]))
    assert len(tried) == accounts.AT_ONCE, "where nobody answers the rest is not tried"


# --- migrations and fixtures


def test_a_fixture_revokes_nothing(user: User, told: Told, tmp_path: Path) -> None:
    """Rule 8: raw saves, and groups, of which Django 5.2 does not say that they are raw."""
    group, rights = Group.objects.create(name="g"), [Permission.objects.all()[0].pk]
    fields = {"username": "kim", "password": "x", "is_superuser": True, "groups": [group.pk]}
    rows = [
        {"model": "auth.user", "pk": user.pk, "fields": fields},
        {"model": "auth.group", "pk": group.pk, "fields": {"name": "g", "permissions": rights}},
    ]
    file = tmp_path / "users.json"
    file.write_text(json.dumps(rows))
    call_command("loaddata", str(file), verbosity=0)
    user.refresh_from_db()
    assert user.is_superuser and list(user.groups.all()) == [group]
    assert told == []
    user.groups.clear()
    assert told == [(str(user.pk), {})], "and from then on it does again"


def test_a_migration_revokes_nothing_and_is_asked_nothing(user: User, told: Told) -> None:
    """Rule 8: there may be no Redis, and the table may lack what the model has."""
    queries: list[str] = []

    def saving(**_: Any) -> None:
        user.is_staff = not user.is_staff
        with connection.execute_wrapper(noting):
            user.save()

    def noting(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql.split()[0])
        return execute(sql, *rest)

    post_migrate.connect(saving)
    try:
        call_command("migrate", "sockets", verbosity=0)
    finally:
        post_migrate.disconnect(saving)
    assert told == [] and set(queries) == {"UPDATE"}
    saving()
    assert told == [(str(user.pk), {})]
