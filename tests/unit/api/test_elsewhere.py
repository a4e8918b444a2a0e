"""Rule 22: who does the calls of a process without a node, in order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sockets import api
from sockets.api import beside, outbox
from sockets.api.beside import Beside
from sockets.api.elsewhere import elsewhere
from sockets.api.over_http import OverHttp
from sockets.base import under_test
from sockets.exceptions import GatewayUnreachable
from sockets.node.node import Node
from tests.support.doubles import running_node


@pytest.fixture
def given(settings: Any, tmp_path: Path) -> Any:
    def give(**more: Any) -> Any:
        settings.DEBUG = True
        settings.GATEWAY = {"data_dir": tmp_path} | more
        from sockets.conf import get_conf

        return get_conf()

    give()
    return give


@pytest.fixture
def testing() -> Any:
    under_test.ignore(False)
    yield outbox.WAY
    under_test.ignore()


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(monkeypatch, tmp_path) as made:
        yield made


def test_nobody_is_there(given: Any) -> None:
    with pytest.raises(GatewayUnreachable, match=r"python manage\.py serve"):
        elsewhere()
    with pytest.raises(GatewayUnreachable):
        api.is_online("42")
    with pytest.raises(GatewayUnreachable):
        api.client_socket_url()


async def test_its_own_node_is_first(given: Any, node: Node, testing: Any) -> None:
    assert elsewhere() is None


def test_then_the_outbox_of_a_test(given: Any, testing: Any) -> None:
    given(redis_url="redis://nobody.invalid", gateway_url="http://x", gateway_key="k")
    assert elsewhere() is testing


def test_then_redis(given: Any) -> None:
    given(redis_url="redis://nobody.invalid", gateway_url="http://x", gateway_key="k")
    assert elsewhere() is None


def test_then_the_url_and_then_the_file(given: Any) -> None:
    conf = given(gateway_url="http://gw.test:4001/", gateway_key="k", api_path="/gw/")
    beside.write(conf, Beside("http://127.0.0.1:1/", "s", os.getpid(), "ws://c", "ws://w"))
    by_url: Any = elsewhere()
    assert isinstance(by_url, OverHttp)
    assert (by_url._host, by_url._port, by_url._path) == ("gw.test", 4001, "/gw/call")
    assert elsewhere() is by_url, "with the connections that it has"
    given()
    by_file: Any = elsewhere()
    assert (by_file._host, by_file._port) == ("127.0.0.1", 1)
    assert (api.client_socket_url(), api.worker_socket_url()) == ("ws://c", "ws://w")


def test_the_file_never_counts_in_production(given: Any, settings: Any) -> None:
    conf = given()
    beside.write(conf, Beside("http://127.0.0.1:1/", "s", os.getpid(), "", ""))
    given(environment="production")
    with pytest.raises(GatewayUnreachable):
        elsewhere()
    settings.DEBUG = False
    given_again = {"data_dir": conf.data_dir}
    settings.GATEWAY = given_again
    with pytest.raises(GatewayUnreachable):
        elsewhere()
