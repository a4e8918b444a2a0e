"""Who may use the HTTP API: which keys count, for what, how often, and what is noted of it."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory

from sockets.auth.keys import Key, Use, make_secret
from sockets.auth.scopes import NOTIFY, TASKS
from sockets.base import audit, metrics
from sockets.conf import Conf
from sockets.exceptions import Forbidden, TooManyRequests
from sockets.http import security
from sockets.http.security import ApiKey, holds, may_use_pool
from sockets.types import Audit

KEY = Key("back", frozenset({"notify", "tasks:p"}))


class Keys:
    """Stands for a node's ring of keys: knows one secret."""

    def __init__(self) -> None:
        self.wait = self.wait_for_failures = 0.0
        self.failures: list[str] = []
        self.noted: list[tuple[str, str]] = []

    async def find(self, secret: str, use: Use) -> Key | None:
        return KEY if (secret, use) == ("right", Use.API) else None

    def wait_of(self, key: Key) -> float:
        return self.wait

    def wait_after_failure(self, address: str) -> float:
        self.failures.append(address)
        return self.wait_for_failures

    def used(self, key: Key, use: Use, address: str) -> None:
        self.noted.append((key.name, address))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Those of the node of this process."""
    made = Keys()
    node = SimpleNamespace(keys=made, conf=Conf(api_rate=5))
    monkeypatch.setattr(security, "current_node", lambda: node)
    return made


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What comes into the audit log."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(audit, "record", lambda kind, **told: found.append({"kind": kind} | told))
    return found


def request(authorization: str = "Bearer right") -> Any:
    headers = {"Authorization": authorization}
    return RequestFactory().get("/api/v1/nodes", headers=headers, REMOTE_ADDR="10.0.0.7")


async def let_in(scope: str = NOTIFY, authorization: str = "Bearer right") -> Key | None:
    found: Any = ApiKey(scope)(request(authorization))
    return None if found is None else await found


async def test_a_key_with_the_scope_is_let_in_and_noted(keys: Keys) -> None:
    assert await let_in() is KEY
    assert keys.noted == [("back", "10.0.0.7")]
    assert audit.actor.get() == "key:back"


@pytest.mark.parametrize("authorization", ["bearer right", "BEARER   right "])
async def test_how_it_may_be_written(keys: Keys, authorization: str) -> None:
    assert await let_in(authorization=authorization) is KEY


@pytest.mark.parametrize("authorization", ["", "right", "Basic right", "Bearerright"])
async def test_what_is_no_bearer_token_is_looked_at_no_further(
    keys: Keys, authorization: str
) -> None:
    assert ApiKey(NOTIFY)(request(authorization)) is None
    assert keys.failures == []


async def test_a_wrong_key_is_counted_for_its_address(
    keys: Keys, recorded: list[dict[str, Any]]
) -> None:
    assert await let_in(authorization="Bearer wrong") is None
    assert keys.failures == ["10.0.0.7"] and keys.noted == []
    (line,) = recorded
    assert (line["kind"], line["code"], line["address"]) == (Audit.REFUSED, 401, "10.0.0.7")
    keys.wait_for_failures = 2.5
    with pytest.raises(TooManyRequests, match="wrong keys from this address") as caught:
        await let_in(authorization="Bearer wrong")
    assert caught.value.retry_after == 2.5


async def test_a_key_that_comes_too_often_is_told_its_rate(keys: Keys) -> None:
    keys.wait = 1.5
    before = metrics.rate_limited_api._value.get()
    with pytest.raises(TooManyRequests, match="more than 5 requests a second") as caught:
        await let_in()
    assert caught.value.retry_after == 1.5
    assert metrics.rate_limited_api._value.get() == before + 1
    assert keys.noted == []


@pytest.mark.parametrize(("scope", "name"), [("admin", "admin"), ("presence", "presence")])
async def test_a_key_without_the_scope_is_refused(
    keys: Keys, recorded: list[dict[str, Any]], scope: str, name: str
) -> None:
    with pytest.raises(Forbidden, match=f"this key has no scope {name}"):
        await let_in(scope)
    assert [line["code"] for line in recorded] == [403] and keys.noted == []


async def test_the_tasks_of_any_pool_let_in_and_the_route_asks_for_its_own(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await let_in(TASKS) is KEY
    asked = request()
    asked.auth = KEY
    assert may_use_pool(asked, "p") and not may_use_pool(asked, "q")
    assert holds(asked, "notify") and not holds(asked, "admin")
    monkeypatch.setattr(security, "_find", lambda *_: _other())
    with pytest.raises(Forbidden, match="no scope tasks:<pool>"):
        await let_in(TASKS)


async def _other() -> Key:
    return Key("other", frozenset({"notify"}))


async def test_without_a_node_a_key_of_the_settings_counts_and_no_node_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conf = Conf(api_keys={"env": sha256(b"right").hexdigest()})
    monkeypatch.setattr(security, "current_node", lambda: None)
    monkeypatch.setattr(security, "ensure_node", pytest.fail)
    monkeypatch.setattr(security, "get_conf", lambda: conf)
    found = await let_in()
    assert found is not None and found.name == "env"
    assert await let_in(authorization="Bearer wrong") is None


async def test_without_a_node_one_is_made_for_a_key_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Keys()

    async def make() -> Any:
        return SimpleNamespace(keys=made, conf=Conf())

    monkeypatch.setattr(security, "current_node", lambda: None)
    monkeypatch.setattr(security, "ensure_node", make)
    _, secret = make_secret()
    assert await let_in(authorization=f"Bearer {secret}") is None
    assert made.failures == ["10.0.0.7"]
