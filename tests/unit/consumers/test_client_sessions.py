"""A client that came by a Django session whose end nobody knows beforehand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from sockets.auth import session_watch
from tests.support.doubles import JWT_SECRET, MemoryNode, running_node, until
from tests.unit.consumers.conftest import Peer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> AsyncIterator[MemoryNode]:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.SESSION_COOKIE_NAME = "shop"
    monkeypatch.setattr(session_watch, "EVERY", 0.05)
    async with running_node(monkeypatch, tmp_path, auth=("jwt", "session")) as made:
        yield made


@pytest.fixture
async def user() -> User:
    return await asyncio.to_thread(User.objects.create_user, "kim")


def sign_in(user: User) -> str:
    visitor = Client()
    visitor.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return visitor.cookies["shop"].value


def tab(key: str) -> Peer:
    from sockets.consumers.client import ClientConsumer

    given = {"host": "localhost", "origin": "http://localhost", "cookie": f"shop={key}"}
    headers = [(name.encode(), value.encode()) for name, value in given.items()]
    made: WebsocketCommunicator = Peer(
        ClientConsumer.as_asgi(), "/", headers=headers, subprotocols=["gateway.v1"]
    )
    assert isinstance(made, Peer)
    return made


async def test_its_socket_ends_with_it(node: MemoryNode, user: User) -> None:
    """Rule 7: it is looked at every 60 s; the code is that of a session that ends by its date."""
    keys = [await asyncio.to_thread(sign_in, user) for _ in range(2)]
    ends, stays = tab(keys[0]), tab(keys[1])
    assert (await ends.opened())["user"] == (await stays.opened())["user"] == str(user.pk)
    cache.delete(f"django.contrib.sessions.cache{keys[0]}")
    assert await ends.closed() == (4003, "the session has ended: sign in again")
    assert (await stays.ask(type="sessions"))["ok"]
    await stays.leave()


async def test_a_token_takes_its_place(node: MemoryNode, user: User) -> None:
    """Rule 7: from then on the session is not looked at."""
    key = await asyncio.to_thread(sign_in, user)
    page = tab(key)
    await page.opened()
    watch = node.client_auth.session_watch
    assert watch is not None and len(watch._live) == 1
    claims = {"sub": str(user.pk), "exp": int(time.time()) + 60, "iat": int(time.time())}
    token = jwt.encode(claims, JWT_SECRET)
    assert (await page.ask(type="refresh", token=token))["ok"]
    assert len(watch._live) == 0
    cache.delete(f"django.contrib.sessions.cache{key}")
    await watch.look()
    assert (await page.ask(type="sessions"))["ok"]
    await page.leave()
    await until(lambda: not len(node.hub))
