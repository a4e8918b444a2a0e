"""What became of a message by the Python API, and a user who is forgotten."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sockets import api
from sockets.api.ledger import digest_of
from sockets.base import audit
from sockets.base.ids import new_id
from sockets.deliveries import Fate, Standing
from sockets.exceptions import GatewayUnavailable, InvalidMessage
from sockets.node.node import Node
from tests.unit.api.conftest import client


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "one of offset, id and idempotency_key"),
        ({"offset": 1, "id": new_id()}, "one of offset, id and idempotency_key"),
        ({"id": "i", "epoch": "e"}, "epoch goes with offset"),
        ({"offset": 0}, "offset is a whole number"),
        ({"offset": True}, "offset is a whole number"),
        ({"offset": "1"}, "offset is a whole number"),
        ({"offset": 1, "epoch": "e" * 65}, "at most 64"),
        ({"id": ""}, "id is the message's"),
        ({"id": 7}, "id is a string"),
        ({"idempotency_key": "k" * 256}, "idempotency_key is a string of 1 to 255"),
    ],
)
@pytest.mark.parametrize("call", [api.adelivery_of, api.aexplain_delivery])
async def test_a_message_has_one_name(
    node: Node, call: Any, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidMessage, match=told):
        await call("42", **given)


async def test_a_message_is_explained_by_any_of_its_names(node: Node) -> None:
    session = await client(node)
    receipt = await api.anotify_user(42, "e", idempotency_key="k")
    for given in ({"offset": 1}, {"offset": 1, "epoch": receipt.epoch}):
        assert (await api.aexplain_delivery(42, **given)).message.id == receipt.id
    by_id = await api.aexplain_delivery(42, id=receipt.id)
    assert by_id == await api.aexplain_delivery(42, idempotency_key="k")
    assert by_id.message.fate is Fate.KEPT and by_id.user == "42"
    (row,) = await api.adelivery_of(42, id=receipt.id)
    assert row.session == session.info.id and row.live


async def test_the_ledger_of_a_user(node: Node) -> None:
    assert await api.aledger_of("42") == []
    session = await client(node)
    opened = node.hub.get(session.info.id)
    assert opened is session
    await api.anotify_user("42", "e")
    found = await api.aexplain_delivery("42", 1)
    assert [one.standing for one in found.clients] == [Standing.SENT]


async def test_who_is_forgotten_is_in_the_audit_log_without_a_name(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    await api.anotify_user("kim@example.com", "e")
    before = audit.actor.set("staff:ann")
    with caplog.at_level(logging.INFO, "gateway.audit"):
        done = await api.aforget_user("kim@example.com")
    audit.actor.reset(before)
    assert (done.messages, done.closed) == (1, 0)
    (line,) = [one for one in caplog.records if one.name == "gateway.audit"]
    assert line.getMessage() == "forgotten"
    told = line.audit  # type: ignore[attr-defined]
    assert (told["user_digest"], told["by"]) == (digest_of("kim@example.com"), "staff:ann")
    assert "kim" not in str(told)
    assert len(digest_of("a")) == 32 and digest_of("a") != digest_of("b")


async def test_what_was_done_is_audited_where_the_rest_failed(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(user: str, before: float) -> int:
        raise GatewayUnavailable("the database is away", outcome="unknown")

    monkeypatch.setattr(node.control, "remove_rows", away)
    await api.anotify_user("kim@example.com", "e")
    with caplog.at_level(logging.INFO, "gateway.audit"), pytest.raises(GatewayUnavailable):
        await api.aforget_user("kim@example.com")
    (line,) = [one for one in caplog.records if one.name == "gateway.audit"]
    told = line.audit  # type: ignore[attr-defined]
    assert (told["outcome"], told["messages"], "rows" in told) == ("unknown", 1, False)
    assert told["user_digest"] == digest_of("kim@example.com") and "kim" not in str(told)
