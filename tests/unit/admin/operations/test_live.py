"""Live sessions, and one of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sockets.admin.operations.live import asked_of
from sockets.models import Session
from sockets.reports import LiveSessions
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, page, words
from tests.unit.admin.operations.values import NOW, FixedSource, session_id

PLAIN = {
    **{"q": "", "kind": None, "node": None, "health": None, "address": "", "agent": ""},
    **{"older_than": None, "younger_than": None, "order": "-connected_at"},
}


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", {}),
        ("q=+kim+&kind=client&node=n&health=slow", {"q": "kim", "kind": "client", "node": "n",
         "health": "slow"}),
        ("address=10.&agent=Chrome", {"address": "10.", "agent": "Chrome"}),
        ("age=-60", {"younger_than": 60}),
        ("age=3600", {"older_than": 3_600}),
        ("age=7", {}),
        ("order=lag", {"order": "lag"}),
        ("order=-buffered", {"order": "-buffered"}),
        ("order=--lag", {}),
        ("order=password", {}),
    ],
)  # fmt: skip
def test_what_is_asked_for(query: str, asked: dict[str, Any]) -> None:
    assert asked_of(QueryDict(query)) == PLAIN | asked


def test_the_list(reader: Client, fixed: FixedSource) -> None:
    text = page(reader, "livesession/", order="-lag")
    said = words(text)
    for word in ("user-1", "healthy", "slow", "lagging", "Chrome on Windows", "31.2 ms", "worker"):
        assert word in said, word
    (asked,) = [given for name, _, given in fixed.calls if name == "find_live_sessions"]
    assert (asked["limit"], asked["order"]) == (50, "-lag")
    assert 'aria-sort="descending"' in text and 'href="?order=lag"' in text
    assert f'href="{ROOT}livesession/{session_id(1)}/change/"' in text
    assert f'title="{values.CHROME}"' in text
    assert 'type="checkbox"' not in text, "read-only: nothing can be chosen"


def test_what_is_not_on_the_page_is_said(reader: Client, fixed: FixedSource) -> None:
    one = values.live(1)
    fixed.answers["find_live_sessions"] = LiveSessions([one], 20_163, 12_345, ["node-4"], NOW)
    text = words(page(reader, "livesession/"))
    assert "1 of 12,345" in text and "node-4" in text


def test_nobody(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["find_live_sessions"] = LiveSessions([], 0, 0, [], NOW)
    assert "Nobody is connected." in words(page(reader, "livesession/"))
    text = page(reader, "livesession/", q="<b>")
    assert "No live session is like this." in words(text)
    assert 'value="&lt;b&gt;"' in text and "state=ended&amp;q=%3Cb%3E" in text


def test_rows_can_be_chosen_by_whoever_may_end_them(operator: Client, fixed: FixedSource) -> None:
    text = page(operator, "livesession/")
    assert text.count('type="checkbox"') == 4
    assert f'action="{ROOT}livesession/disconnect/"' in text


def test_one_session(reader: Client, fixed: FixedSource) -> None:
    text = page(reader, f"livesession/{session_id(1)}/change/")
    said = words(text)
    for word in ("user-1", "jwt", "2026-03-04 12:30:00 UTC", "Chrome on Windows", "40 kB", "17",
                 "order.paid", "12:00:01.000", "215 B"):  # fmt: skip
        assert word in said, word
    assert fixed.calls[0] == ("session_report", (session_id(1),), {"frames": True})
    rows = re.findall(r'<tr data-key="(\d)">', text)
    assert rows == ["2", "1"], "newest first"
    assert "Disconnect" not in said


def test_one_that_is_gone_is_in_the_history(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["session_report"] = None
    path = f"livesession/{session_id(1)}/change/"
    text = page(reader, path)
    assert "not live any more" in words(text) and "In the history" not in words(text)
    moment = datetime.fromtimestamp(NOW, UTC)
    Session.objects.create(id=session_id(1), kind="client", user="u", connected_at=moment)
    assert f'href="{ROOT}session/{session_id(1)}/change/"' in page(reader, path)


def test_a_worker_has_no_position(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["session_report"] = values.report(head=None, sent=None, attached=["kim", "lee"])
    text = words(page(reader, f"livesession/{session_id(1)}/change/"))
    assert "Acknowledged up to" not in text and "kim, lee" in text


@pytest.mark.parametrize("id", ["a%00b", "' OR 1=1", "x" * 2_000])
def test_what_is_no_id_of_a_session_is_not_asked_of_the_database(
    operator: Client, fixed: FixedSource, id: str
) -> None:
    """PostgreSQL takes no NUL in a text: the page was an error there."""
    table = Session._meta.db_table
    with CaptureQueriesContext(connection) as asked:
        page(operator, f"{ROOT}livesession/{id}/change/")
        page(operator, f"{ROOT}livesession/disconnect/?session={id}")
    of_rows = [query["sql"] for query in asked if f'FROM "{table}"' in query["sql"]]
    assert of_rows == []
