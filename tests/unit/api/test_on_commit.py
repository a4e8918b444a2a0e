"""`notify_user_on_commit`: with the transaction, or never."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from sockets import api
from sockets.api import messages
from sockets.exceptions import GatewayUnavailable, GatewayUnreachable, InvalidMessage

pytestmark = pytest.mark.django_db(transaction=True)


class Undo(Exception):
    """Rolls back."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `notify_user` was called with; a gateway seems to be here."""
    calls: list[tuple[Any, ...]] = []

    def notify(user: str, event: str, data: Any, **options: Any) -> None:
        calls.append((user, event, bytes(data), options))

    monkeypatch.setattr(messages, "current_node", object)
    monkeypatch.setattr(messages, "notify_user", notify)
    return calls


def test_it_is_sent_when_the_transaction_is_committed(sent: list[Any]) -> None:
    data = {"n": 1}
    with transaction.atomic():
        api.notify_user_on_commit("42", "e", data, ttl=5)
        data["n"] = 2  # is not what was asked for
        assert sent == []
    assert sent == [("42", "e", b'{"n":1}', {"ttl": 5})]


def test_it_is_never_sent_when_it_is_rolled_back(sent: list[Any]) -> None:
    with pytest.raises(Undo), transaction.atomic():
        api.notify_user_on_commit("42", "e")
        raise Undo
    with transaction.atomic():
        with pytest.raises(Undo), transaction.atomic():
            api.notify_user_on_commit("42", "inner")
            raise Undo
        api.notify_user_on_commit("42", "outer")
    assert [call[1] for call in sent] == ["outer"]


def test_without_a_transaction_it_is_sent_at_once(sent: list[Any]) -> None:
    api.notify_user_on_commit("42", "e")
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("given", "options"),
    [(("", "e"), {}), (("42", ""), {}), (("42", "e", object()), {}), (("42", "e"), {"ttl": -1})],
)
def test_what_is_wrong_is_told_at_once(
    sent: list[Any], given: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with transaction.atomic(), pytest.raises(InvalidMessage):
        api.notify_user_on_commit(*given, **options)
    assert sent == []


def test_that_nobody_could_send_it_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "current_node", lambda: None)
    with transaction.atomic(), pytest.raises(GatewayUnreachable):
        api.notify_user_on_commit("42", "e")


@pytest.mark.parametrize(
    "error", [GatewayUnavailable("Redis is away", id="the-id"), TypeError("Redis is away")]
)
def test_what_fails_after_the_commit_is_logged(
    sent: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(messages, "notify_user", away)
    with transaction.atomic():
        api.notify_user_on_commit("42", "order.paid")
    assert "order.paid" in caplog.text and "Redis is away" in caplog.text
