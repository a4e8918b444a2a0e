"""What `serve` decides before it listens: how large bodies may be, and whom it tells of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sockets.conf import Conf
from sockets.node.core import Addresses
from sockets.server.serve import _banner, _is_for_development, body_limit
from sockets.types import Surface

PUBLIC, PRIVATE = Surface.PUBLIC, Surface.PRIVATE
CONF = Conf(body_public=2_000, body_private=3_000, body_site=4_000, body_demo=5_000)


@pytest.mark.parametrize(
    ("surface", "path", "shown", "most"),
    [
        (PUBLIC, "/healthz", True, 2_000),
        (PUBLIC, "/upload", False, 2_000),
        (PUBLIC, "/upload", True, 4_000),
        (PRIVATE, "/upload", False, 4_000),
        (PRIVATE, "/api/v1/users/1/messages", False, 3_000),
        (PRIVATE, "/metrics", False, 3_000),
    ],
)
def test_uploads_of_the_site_are_not_under_the_gateway_s_limits(
    surface: Surface, path: str, shown: bool, most: int
) -> None:
    """Rule 21."""
    site = SimpleNamespace(public=shown)
    assert body_limit(CONF, site)(surface, path) == most


def test_the_demo_s_are() -> None:
    conf = Conf(demo=True, body_public=2_000, body_demo=5_000)
    limit = body_limit(conf, SimpleNamespace(public=True))
    assert (limit(PUBLIC, "/demo/jobs"), limit(PUBLIC, "/other")) == (5_000, 2_000)


@pytest.mark.parametrize(
    ("given", "host", "told"),
    [
        ({}, "127.0.0.1", True),
        ({}, "127.8.8.8", True),
        ({}, "::1", True),
        ({}, "localhost", True),
        ({}, "0.0.0.0", False),
        ({}, "::", False),
        ({}, "192.0.2.7", False),
        ({}, "gateway.internal", False),
        ({"environment": "production"}, "127.0.0.1", False),
        ({"redis_url": "redis://h"}, "127.0.0.1", False),
    ],
)
def test_who_may_be_called_by_the_file(given: dict[str, Any], host: str, told: bool) -> None:
    """Rule 22."""
    assert _is_for_development(Conf(**given), host) is told


@pytest.mark.parametrize(
    ("given", "clients", "workers"),
    [
        ({}, "ws://localhost:1", "ws://localhost:2/ws/worker/"),
        ({"worker_paths": ("/w",)}, "ws://localhost:1", "ws://localhost:2/w/"),
        (
            {"client_socket_url": "wss://a.example", "worker_socket_url": "wss://b.example/w"},
            "wss://a.example",
            "wss://b.example/w",
        ),
    ],
)
def test_the_banner_has_the_addresses_that_are_set(
    given: dict[str, Any], clients: str, workers: str
) -> None:
    conf = Conf(**given)
    node: Any = SimpleNamespace(conf=conf, addresses=Addresses.of(conf, 1, 2), unready_because=None)
    told = _banner("127.0.0.1", 1, 2, node, None).splitlines()
    assert f"  clients  {clients}" in told and f"  workers  {workers}" in told
