"""The lists where no history is kept: nodes are asked of the gateway, sessions have their page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sockets.exceptions import GatewayUnreachable
from sockets.models import Node, Session
from sockets.types import NodeInfo
from tests.support.doubles import NOON
from tests.unit.admin.conftest import LIST, RecordingApi, StaffWith

NODES = "/admin/sockets/node/"


class LiveApi(RecordingApi):
    """Knows a node."""

    def nodes(self) -> list[NodeInfo]:
        if self.error is not None:
            raise self.error
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


def test_the_history_leads_to_what_is_live(operator: Client, api: LiveApi) -> None:
    """Rule 16: with what was asked for."""
    for query in ("", "?q=kim+%3Cb%3E"):
        answer = operator.get(LIST + query)
        assert answer.status_code == 302
        assert answer["Location"] == f"/admin/sockets/livesession/{query}"


def test_nodes_that_live(operator: Client, api: LiveApi) -> None:
    """Rule 16."""
    with CaptureQueriesContext(connection) as asked:
        text = text_of(operator, NODES)
    assert "No history is kept" in text and "draining" in text and ">7<" in text
    assert "Search" not in text and "Disconnect" not in text
    assert not [one for one in asked if "sockets_" in one["sql"]], "no row is asked for"


def test_it_says_where_the_gateway_cannot_be_asked(operator: Client, api: LiveApi) -> None:
    api.error = GatewayUnreachable()
    text = text_of(operator, NODES)
    assert "The gateway was not asked" in text and "No history is kept" in text


@pytest.mark.parametrize("permission", ["view_session", "view_node", "disconnect_session"])
def test_who_may(staff: StaffWith, api: LiveApi, permission: str) -> None:
    client = staff(permission)
    text_of(client, NODES, 200 if permission == "view_node" else 403)
    text_of(client, LIST, 302 if permission == "view_session" else 403)


@pytest.mark.usefixtures("api")
def test_a_row_of_before_has_its_page(operator: Client, add: Any) -> None:
    """Rule 16: what is kept from the time before can still be looked at."""
    row = add()
    assert row.user in text_of(operator, f"{LIST}{row.pk}/change/")
    assert Session.objects.count() == 1 and not Node.objects.exists()
