"""One user's page, and why a message was not delivered."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from sockets.types import Position
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, page, words
from tests.unit.admin.operations.values import NOW, FixedSource, session_id


def test_without_a_user_it_asks_for_one(reader: Client, fixed: FixedSource) -> None:
    assert 'name="user"' in page(reader, "gatewayuser/") and not fixed.calls


def test_all_of_a_user(reader: Client, fixed: FixedSource) -> None:
    text = page(reader, "gatewayuser/", user="user-1")
    said = words(text)
    for word in ("connected", "order.paid", "image.convert", "running", "missed nothing",
                 "connection lost", "replaced", "another connection", "offset 12"):  # fmt: skip
        assert word in said, word
    assert [name for name, _, _ in fixed.calls] == ["user_report", "ledger_of"]
    assert f'href="{ROOT}session/{session_id(2)}/change/"' in text
    assert "gatewayuser/why/?user=user-1&amp;what=offset&amp;message=42" in text
    assert not re.findall(r"gatewayuser/(?:block|notify|trace|revoke)", text)


def test_who_it_is_where_django_knows(reader: Client, fixed: FixedSource, settings: object) -> None:
    settings.GATEWAY = settings.GATEWAY | {"sessions": "project"}  # type: ignore[attr-defined]
    kim = User.objects.create_user("kim", first_name="Kim", last_name="Minji")
    text = page(reader, "gatewayuser/", user=str(kim.pk))
    assert "<h1>Kim Minji</h1>" in text
    assert f'<p class="gateway-id"><bdi>{kim.pk}</bdi></p>' in text


@pytest.mark.parametrize(
    ("until", "said"),
    [(None, "until somebody unblocks them"), (NOW, "until 2026-03-04 12:00:00 UTC")],
)
def test_a_block(reader: Client, fixed: FixedSource, until: float | None, said: str) -> None:
    fixed.answers["user_report"] = values.user_report(blocked=True, blocked_until=until)
    assert said in words(page(reader, "gatewayuser/", user="user-1"))


def test_a_user_of_whom_nothing_is_known(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["user_report"] = values.user_report(
        "x", presence=values.presence("x", 0), live=[], tasks=[], stream=[], visits=[],
        head=Position("e", 0), floor=0,
    )  # fmt: skip
    fixed.answers["ledger_of"] = []
    text = words(page(reader, "gatewayuser/", user="x"))
    for word in ("offline", "No live session.", "No task.", "No message is kept.",
                 "No client of this user is known.", "No session is in the history."):  # fmt: skip
        assert word in text, word


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({"what": "id", "message": "01AB"}, {"id": "01AB"}),
        ({"what": "idempotency_key", "message": "7"}, {"idempotency_key": "7"}),
        ({"what": "offset", "message": "41"}, {"offset": 41, "epoch": None}),
        ({"what": "offset", "message": "41", "epoch": "e"}, {"offset": 41, "epoch": "e"}),
    ],
)
def test_why_asks_by_what_is_known(
    reader: Client, fixed: FixedSource, query: dict[str, Any], asked: dict[str, object]
) -> None:
    text = words(page(reader, "gatewayuser/why/", user="user-1", **query))
    assert fixed.calls == [("explain_delivery", ("user-1",), asked)]
    assert "The client came back and was sent what it had missed, up to 41." in text


@pytest.mark.parametrize("message", ["x", "-1", "²", "9" * 40])
def test_an_offset_is_a_number(reader: Client, fixed: FixedSource, message: str) -> None:
    text = page(reader, "gatewayuser/why/", user="user-1", what="offset", message=message)
    assert "An offset is a whole number." in words(text) and not fixed.calls


def test_operators_find_their_actions(operator: Client, fixed: FixedSource) -> None:
    text = page(operator, "gatewayuser/", user="user-1")
    for name in ("disconnect", "notify", "trace", "revoke", "block", "unblock"):
        assert f'href="{ROOT}gatewayuser/{name}/?user=user-1"' in text
