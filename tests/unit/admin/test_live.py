"""The lists where no history is kept: what is live, asked of the gateway."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sockets.exceptions import GatewayUnreachable
from sockets.models import Node, Session
from sockets.types import NodeInfo, SessionInfo, SessionPage
from tests.support.doubles import NOON, info
from tests.unit.admin.conftest import LIST, RecordingApi, StaffWith

NODES = "/admin/sockets/node/"
KIM = info("kim <b>", id="01ARZ3NDEKTSV4RRFFQ69G5FAV", address="10.0.0.1:5")
BEA = info("bea", id="01BX5ZZKBKACTAV9WEVGEMMVRZ", node="there")


class LiveApi(RecordingApi):
    """Knows two sessions and a node."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str | None, str | None]] = []
        self.recorder_writes = False

    def _or_raise(self) -> None:
        if self.error is not None:
            raise self.error

    def session_page(self, *, node: str | None, cursor: str | None, limit: int) -> SessionPage:
        self._or_raise()
        self.asked.append((node, cursor))
        found = [one for one in (KIM, BEA) if node in (None, one.node)]
        return SessionPage(found, None if cursor else "next=1")

    def sessions_of(self, user: str) -> list[SessionInfo]:
        self._or_raise()
        return [one for one in (KIM, BEA) if one.user == user]

    def nodes(self) -> list[NodeInfo]:
        self._or_raise()
        return [NodeInfo("i", "here", 1, "h", "0.1", NOON, "draining", clients=7, workers=3)]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveApi]:
    made = LiveApi()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "sockets.api", made)
        yield made


@pytest.fixture(autouse=True)
def _no_history(settings: LazySettings) -> None:
    settings.GATEWAY = settings.GATEWAY | {"history": False}


@pytest.fixture
def operator(staff: StaffWith) -> Client:
    return staff("view_session", "disconnect_session", "view_node")


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


def test_it_shows_what_is_live_and_that_nothing_is_kept(operator: Client, api: LiveApi) -> None:
    """Rule 16."""
    with CaptureQueriesContext(connection) as asked:
        text = text_of(operator, LIST)
    assert "No history is kept" in text and "Live sessions" in text
    assert "kim &lt;b&gt;" in text and KIM.client_id in text and "10.0.0.1:5" in text
    assert text.count("<tr>") == 3 and "column-node" in text
    assert not [one for one in asked if "sockets_" in one["sql"]], "no row is asked for"


def test_it_goes_from_page_to_page(operator: Client, api: LiveApi) -> None:
    text = text_of(operator, f"{LIST}?node=there")
    [following] = re.findall(r'href="(\?node[^"]*)"', text)
    assert "kim" not in text and "bea" in text
    assert 'href="?node' not in text_of(operator, LIST + following.replace("&amp;", "&"))
    assert api.asked == [("there", None), ("there", "next=1")]


def test_it_finds_a_user(operator: Client, api: LiveApi) -> None:
    text = text_of(operator, f"{LIST}?q=bea+")
    assert "bea" in text and "kim" not in text and 'value="bea"' in text and not api.asked


def test_it_disconnects(operator: Client, api: LiveApi) -> None:
    """Rule 16: as where there are rows."""
    given = {"action": "disconnect", "_selected_action": [KIM.id, BEA.id]}
    api.gone.add(BEA.id)
    text = operator.post(f"{LIST}?node=here", given, follow=True).content.decode()
    assert [one[0] for one in api.calls] == [KIM.id, BEA.id]
    assert "1 session was disconnected" in text and "1 session was already gone" in text
    assert api.asked == [("here", None)], "back on the page that was asked"
    assert [one.object_id for one in LogEntry.objects.all()] == [KIM.id]


def test_it_says_where_the_gateway_cannot_be_asked(operator: Client, api: LiveApi) -> None:
    api.error = GatewayUnreachable()
    for page in (LIST, f"{LIST}?q=kim", NODES):
        text = text_of(operator, page)
        assert "The gateway was not asked" in text and "No history is kept" in text
    given = {"action": "disconnect", "_selected_action": [KIM.id]}
    assert "Not disconnected" in operator.post(LIST, given, follow=True).content.decode()


def test_nodes_that_live(operator: Client, api: LiveApi) -> None:
    """Rule 16."""
    text = text_of(operator, NODES)
    assert "No history is kept" in text and "draining" in text and ">7<" in text
    assert "Search" not in text and "Disconnect" not in text


@pytest.mark.parametrize("permission", ["view_session", "view_node", "disconnect_session"])
def test_who_may(staff: StaffWith, api: LiveApi, permission: str) -> None:
    client = staff(permission)
    text_of(client, NODES, 200 if permission == "view_node" else 403)
    text = text_of(client, LIST, 200 if permission == "view_session" else 403)
    assert "Disconnect the" not in text
    given = {"action": "disconnect", "_selected_action": [KIM.id]}
    assert client.post(LIST, given).status_code == 403 and not api.calls


def test_a_foreign_page_cannot_disconnect(operator: Client, api: LiveApi) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = operator.cookies
    given = {"action": "disconnect", "_selected_action": [KIM.id]}
    assert browser.post(LIST, given).status_code == 403 and not api.calls


@pytest.mark.usefixtures("api")
def test_a_row_of_before_has_its_page(operator: Client, add: Any) -> None:
    """Rule 16: what is kept from the time before can still be looked at."""
    row = add()
    assert row.user in text_of(operator, f"{LIST}{row.pk}/change/")
    assert Session.objects.count() == 1 and not Node.objects.exists()
