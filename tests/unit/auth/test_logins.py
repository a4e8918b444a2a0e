"""Which login a session is of: a value of its own, written with what `login` writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from sockets.auth import logins
from sockets.auth.logins import LOGIN, login_id, sid_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def connected() -> Iterator[None]:
    logins.connect()
    logins.connect()
    yield
    logins.disconnect()


class CountingStore(SessionStore):
    """Counts how often it is saved with what it holds."""

    saves = 0

    def save(self, must_create: bool = False) -> None:
        self.saves += not must_create
        super().save(must_create)


def request_of(session: Any) -> HttpRequest:
    request = HttpRequest()
    request.session = session
    return request


@pytest.fixture
def user() -> User:
    return User.objects.create_user("kim", password="first")


def signed_in(user: User, session: Any = None) -> HttpRequest:
    request = request_of(CountingStore() if session is None else session)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return request


def test_each_login_has_its_own_value_and_costs_no_save(user: User) -> None:
    """Rule 7."""
    session: Any = signed_in(user).session
    other = signed_in(user).session
    assert session[LOGIN] != other[LOGIN] and len(session[LOGIN]) >= 20
    assert session.saves == 0 and session.modified, "the middleware saves it, once"
    session.save()
    found = CountingStore(session.session_key)
    assert sid_of(found, found.session_key) == sid_of(session, None)


def test_the_same_user_again_is_the_same_login(user: User) -> None:
    """Rule 7: a logout ends all sockets of this session."""
    request = signed_in(user)
    before = request.session[LOGIN]
    signed_in(user, request.session)
    assert request.session[LOGIN] == before
    signed_in(User.objects.create_user("sam"), request.session)
    assert request.session[LOGIN] != before


def test_a_login_without_a_session_leaves_none(user: User) -> None:
    """Libraries for tokens send the signal too."""
    anonymous = SessionStore()
    for given in (
        {"request": None},
        {"request": HttpRequest()},
        {"request": request_of(anonymous)},
    ):
        user_logged_in.send(User, user=user, **given)
    assert not anonymous.modified and LOGIN not in anonymous


def test_the_sid_is_a_hash_of_the_value_or_of_the_key(settings: Any) -> None:
    """Rule 7."""
    key = "k" * 32
    assert sid_of({}, None) == "" == sid_of({LOGIN: 7}, None)
    assert sid_of({}, key) == login_id(key)
    assert sid_of({}, key, "theirs") == login_id(key, "theirs") != login_id(key)
    made = sid_of({LOGIN: "v"}, key)
    assert len(made) == 32 and "v" not in made and made != sid_of({LOGIN: "w"}, key)
    settings.SECRET_KEY = "another one"
    assert sid_of({LOGIN: "v"}, "another key", "theirs") == made, "for every project that reads it"
