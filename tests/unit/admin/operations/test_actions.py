"""What all actions share: a question, a result, an entry in the history, an audit line."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from sockets.base import audit
from sockets.exceptions import GatewayUnavailable, InvalidMessage
from tests.unit.admin.operations.conftest import ROOT, do, page, words
from tests.unit.admin.operations.values import FixedSource

BLOCK = "gatewayuser/block/"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        record.audit  # type: ignore[attr-defined]
        for record in caplog.records
        if record.name == "gateway.audit" and record.message == "operated"
    ]


def test_it_leaves_an_entry_and_a_line_with_who_did_it(
    operator: Client, fixed: FixedSource, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    do(operator, BLOCK, user="kim/é", length="", reason="spam")
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("staff", "kim/é")
    assert entry.change_message == "Blocked by an operator"
    assert str(entry.content_type) == "Gateway | user"
    answer = operator.get(str(entry.get_admin_url()))
    assert answer["Location"] == f"{ROOT}gatewayuser/?user=kim%2F%C3%A9"
    assert lines(caplog) == [
        {"action": "block", "on": {"user": "kim/é"}, "by": "staff:staff",
         "result": {"seconds": None, "closed": 2, "unconfirmed": 1}}
    ]  # fmt: skip
    assert audit.actor.get() == "", "and nobody is called so afterwards"


def test_the_gateways_own_lines_name_them_too(
    operator: Client, fixed: FixedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sockets.admin.operations import source

    seen = []

    def unblock_user(user: str) -> bool:
        seen.append(audit.actor.get())
        return True

    monkeypatch.setattr(source, "unblock_user", unblock_user)
    do(operator, "gatewayuser/unblock/", user="kim")
    assert seen == ["staff:staff"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatewayUnavailable("away"), "Not done: away"),
        (GatewayUnavailable("away", outcome="unknown"), "Nobody knows whether this was done: away"),
        (InvalidMessage("wrong <b>"), "Not done: wrong <b>"),
    ],
)
def test_what_failed_is_said_and_not_noted(
    operator: Client, fixed: FixedSource, error: Exception, said: str
) -> None:
    fixed.error = error  # type: ignore[assignment]
    answer = operator.post(ROOT + BLOCK, {"asked": "1", "user": "kim", "length": ""})
    assert answer.status_code == 200 and said in words(answer.content.decode())
    assert not LogEntry.objects.exists()


def test_a_number_that_is_not_known_is_no_reason_not_to_ask(
    operator: Client, fixed: FixedSource
) -> None:
    fixed.error = GatewayUnavailable("away")
    text = words(page(operator, BLOCK, user="kim"))
    assert "The gateway was not asked: away" in text


def test_what_is_about_nobody_is_not_there(operator: Client, fixed: FixedSource) -> None:
    page(operator, BLOCK, 404)
    page(operator, "overview/drain/", 404, node="no-such-node")


def test_a_look_is_no_confirmation(operator: Client, fixed: FixedSource) -> None:
    """A list posts what was chosen: the question comes next."""
    answer = operator.post(ROOT + BLOCK, {"user": "kim"})
    assert answer.status_code == 200 and not fixed.done()
