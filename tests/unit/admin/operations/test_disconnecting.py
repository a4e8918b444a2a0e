"""Sessions and users are disconnected, and the page says what really happened."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.test import Client

from sockets.admin.operations import disconnecting
from sockets.models import Session
from sockets.types import Disconnected
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, do, page, words
from tests.unit.admin.operations.values import NOW, FixedSource, client_id, session_id

ENDS = "livesession/disconnect/"
ONE, TWO, THREE = (session_id(number) for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnecting, "wait_until_written", lambda _: None)


def row(number: int) -> Session:
    moment = datetime.fromtimestamp(NOW, UTC)
    return Session.objects.create(
        id=session_id(number), kind="client", user=f"user-{number}", connected_at=moment
    )


def test_the_question_names_the_number_and_who_it_is(operator: Client, fixed: FixedSource) -> None:
    row(1)
    answer = operator.post(ROOT + ENDS, {"session": [ONE, TWO, ONE]})
    said = words(answer.content.decode())
    assert "This concerns 2 sessions." in said and "user-1" in said and TWO in said
    assert not fixed.done()


def test_each_is_told_what_became_of_it(operator: Client, fixed: FixedSource) -> None:
    rows = [row(number) for number in (1, 2, 3)]
    fixed.gone, fixed.slow = {TWO}, {THREE}
    told = do(operator, ENDS, session=[ONE, TWO, THREE], code="4000", reason="bye")
    assert told == [
        "success: 1 session was disconnected.",
        "warning: 1 session does not answer; the socket is cut soon.",
        "warning: 1 session was already gone.",
    ]
    call = next(call for call in fixed.calls if call[0] == "disconnect_sessions")
    assert call[1:] == (([ONE, TWO, THREE],), {"code": 4000, "reason": "bye"})
    entry = LogEntry.objects.get()
    assert (entry.object_id, str(entry.content_type)) == (rows[0].pk, "Gateway | session")


def test_no_row_is_called_live_after_it(operator: Client, fixed: FixedSource) -> None:
    row(1), row(2)
    do(operator, ENDS, session=[ONE], code="4504", reason="")
    states = page(operator, "session/").split("gateway-badge ")[1:]
    assert [state.partition("<")[0] for state in states] == ['good">live', 'warning">closing']


def test_without_rows(operator: Client, fixed: FixedSource, settings: LazySettings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"history": False}
    do(operator, ENDS, session=[ONE], code="4504", reason="")
    assert str(LogEntry.objects.get().content_type) == "Gateway | live session"


@pytest.mark.parametrize(
    "given", [{"code": "1"}, {"code": "x"}, {"code": ""}, {"reason": "가" * 42}]
)
def test_what_no_socket_can_be_closed_with(
    operator: Client, fixed: FixedSource, given: dict[str, str]
) -> None:
    told = do(operator, ENDS, **{"session": ONE, "code": "4504", "reason": ""} | given)
    assert told[0].startswith("wrong: ") and not fixed.done()


def test_a_bound(operator: Client, fixed: FixedSource) -> None:
    many = [session_id(number) for number in range(600)]
    do(operator, ENDS, session=many, code="4504", reason="")
    call = next(call for call in fixed.calls if call[0] == "disconnect_sessions")
    assert len(call[1][0]) == disconnecting.MOST


@pytest.mark.parametrize("keep", [client_id(1), client_id(1).lower(), ONE.lower()])
def test_who_is_spared_is_not_called_closing(
    operator: Client, fixed: FixedSource, keep: str
) -> None:
    row(1), row(2)
    fixed.answers["presence_of"] = values.presence("kim", 2)
    given = {"user": "kim", "code": "4504", "reason": "", "keep": keep}
    do(operator, "gatewayuser/disconnect/", **given)
    states = page(operator, "session/").split("gateway-badge ")[1:]
    assert [state.partition("<")[0] for state in states] == ['warning">closing', 'good">live']


def test_a_user_but_for_some(operator: Client, fixed: FixedSource) -> None:
    fixed.answers["presence_of"] = values.presence("kim", 3)
    assert "This concerns 3 sessions." in words(
        page(operator, "gatewayuser/disconnect/", user="kim")
    )
    fixed.answers["disconnect_user"] = Disconnected(2)
    keep = f"{client_id(1)}\n {ONE} "
    told = do(operator, "gatewayuser/disconnect/", user="kim", code="4504", reason="r", keep=keep)
    assert told == ["success: 2 sessions were disconnected."]
    call = next(call for call in fixed.calls if call[0] == "disconnect_user")
    assert call[1:] == (("kim",), {"code": 4504, "reason": "r", "keep": [client_id(1), ONE]})
    fixed.answers["disconnect_user"] = Disconnected(0)
    told = do(operator, "gatewayuser/disconnect/", user="kim", code="4504", reason="", keep="")
    assert told == ["warning: The user had no live session."]
