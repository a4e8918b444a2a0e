"""Another Django project's sessions, out of its tables: judged as its Django would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from sockets.auth.django_sessions import DjangoSessions
from sockets.auth.handshake import Handshake, parse
from sockets.auth.logins import login_id
from sockets.conf import Conf
from sockets.exceptions import Unauthorized
from tests.support.doubles import scope_of

pytestmark = pytest.mark.django_db(transaction=True)
OWN = "http://localhost:4000"


def hand(
    key: str | None, origin: str | None = OWN, name: str = "sessionid", address: str = "192.0.2.7"
) -> Handshake:
    cookie = None if key is None else f"other=1; {name}={key}"
    given = {"host": "localhost:4000", "cookie": cookie, "origin": origin}
    headers = [(k.encode(), v.encode()) for k, v in given.items() if v is not None]
    return parse(scope_of("", headers=headers, client=[address, 50_000]))


@pytest.fixture
def user() -> User:
    return User.objects.create_user("kim", password="first")


@pytest.fixture
def store(user: User) -> SessionStore:
    """Kim is signed in."""
    made = SessionStore()
    made[SESSION_KEY] = str(user.pk)
    made[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    made[HASH_SESSION_KEY] = user.get_session_auth_hash()
    made.save()
    return made


@pytest.fixture
async def auth() -> AsyncIterator[DjangoSessions]:
    made = DjangoSessions(Conf(auth=("session",), sessions="tables"))
    yield made
    made.close()


async def test_a_session_is_dated_by_the_store(user: User, store: SessionStore) -> None:
    async def now() -> float:
        return 1_000.0

    made = DjangoSessions(Conf(auth=("session",), sessions="tables"), now)
    found = await made.ask(hand(store.session_key))
    made.close()
    assert found is not None and found.issued_at == 1_000.0


async def refused(auth: DjangoSessions, handshake: Handshake, reason: str) -> None:
    with pytest.raises(Unauthorized, match=reason):
        await auth.ask(handshake)


async def test_whoever_is_signed_in(auth: DjangoSessions, user: User, store: SessionStore) -> None:
    key = store.session_key or ""
    found = await auth.ask(hand(key))
    assert found is not None
    assert (found.subject, found.method, found.sid) == (str(user.pk), "session", login_id(key))
    assert found.expires_at is not None and found.issued_at is not None
    assert found.expires_at - found.issued_at > 13 * 24 * 3600
    assert await auth.ask(hand(None)) is None
    assert await auth.ask(hand(key, name="gateway_admin_session")) is None


@pytest.mark.parametrize(
    "origin", [None, "null", "http://localhost:4001", "https://localhost:4000", "http://x.test"]
)
async def test_a_page_of_another_origin_has_the_cookie_too(
    auth: DjangoSessions, store: SessionStore, origin: str | None
) -> None:
    await refused(auth, hand(store.session_key, origin), "pages of this origin")


async def test_a_named_page_may_use_the_cookie(store: SessionStore) -> None:
    """Rule 3."""
    listed = ("https://shop.example", "https://*.shop.example", "*")
    made = DjangoSessions(Conf(auth=("session",), sessions="tables", client_origins=listed))
    assert await made.ask(hand(store.session_key, "https://shop.example")) is not None
    await refused(made, hand(store.session_key, "https://a.shop.example"), "pages of this origin")
    made.close()


async def test_as_django_would_judge(auth: DjangoSessions, user: User, store: SessionStore) -> None:
    handshake = hand(store.session_key)

    def change(**values: Any) -> None:
        User.objects.filter(pk=user.pk).update(**values)

    await asyncio.to_thread(change, is_active=False)
    await refused(auth, handshake, "not active")
    await asyncio.to_thread(change, is_active=True)
    assert await auth.ask(handshake) is not None
    user.set_password("second")
    await asyncio.to_thread(change, password=user.password)
    await refused(auth, handshake, "not known")


async def test_sessions_that_are_none(
    auth: DjangoSessions, user: User, store: SessionStore
) -> None:
    handshake = hand(store.session_key)
    rows = Session.objects.filter(session_key=store.session_key)
    before = (await rows.aget()).session_data
    for data in ("", "x", before[:-3], before + "A", SessionStore().encode({"a": 1})):
        await rows.aupdate(session_data=data)
        await refused(auth, handshake, "session")
    for uid in ("", "0", "x", "9" * 30):
        await rows.aupdate(session_data=store.encode(dict(store.items()) | {SESSION_KEY: uid}))
        await refused(auth, handshake, "not known")
    without = {SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: "x"}
    await rows.aupdate(session_data=store.encode(without))
    await refused(auth, handshake, "not known")
    await rows.aupdate(session_data=before, expire_date=timezone.now() - timedelta(seconds=1))
    await refused(auth, handshake, "not known")
    await rows.adelete()
    await refused(auth, handshake, "not known")
    for key in ("short", "x" * 41, "A" * 32, "' OR 1=1 --", "%00" * 8):
        await refused(auth, hand(key), "not known")


async def test_another_projects_secret(store: SessionStore, settings: Any) -> None:
    handshake = hand(store.session_key)
    ours, settings.SECRET_KEY = (
        settings.SECRET_KEY,
        "the gateway has another one, and is told theirs",
    )
    own, told = (
        DjangoSessions(Conf(auth=("session",), sessions="tables")),
        DjangoSessions(Conf(auth=("session",), sessions="tables", session_secret=ours)),
    )
    try:
        assert await told.ask(handshake) is not None
        await refused(own, handshake, "not known")
    finally:
        own.close()
        told.close()
