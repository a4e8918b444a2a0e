"""Rule 4: which paths are the gateway's own: an exact list, by surface."""

from __future__ import annotations

import pytest

from sockets.conf import Conf
from sockets.http.own_paths import is_api, is_own, own_paths
from sockets.types import Surface

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH


@pytest.mark.parametrize(
    ("path", "surfaces"),
    [
        ("/healthz", {PUBLIC, PRIVATE, BOTH}),
        ("/gateway.js", {PUBLIC, BOTH}),
        ("/gateway.js.map", {PUBLIC, BOTH}),
        ("/readyz", {PRIVATE, BOTH}),
        ("/metrics", {PRIVATE, BOTH}),
        ("/api/v1/", {PRIVATE, BOTH}),
        ("/api/v1/nodes", {PRIVATE, BOTH}),
        ("/api/v1", set()),
        ("/api/v10/x", set()),
        ("/healthz/", set()),
        ("/metrics/x", set()),
        ("/HEALTHZ", set()),
        ("//healthz", set()),
        ("/", set()),
    ],
)
def test_which_are_ours(path: str, surfaces: set[Surface]) -> None:
    assert {one for one in Surface if is_own(Conf(), one, path)} == surfaces


def test_the_api_is_where_the_setting_says() -> None:
    conf = Conf(api_path="/gw/")
    assert is_api(conf, PRIVATE, "/gw/nodes") and not is_api(conf, PRIVATE, "/api/v1/nodes")
    public = ["/gateway.js", "/gateway.js.map", "/healthz"]
    assert own_paths(conf) == [*public, "/metrics", "/readyz", "/gw/"]
