"""What an ASGI scope says."""

from __future__ import annotations

import pytest

from sockets.base.scope import path_of


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/a"}, "/a"),
        ({"path": "/below/a", "root_path": "/below"}, "/a"),
        ({"path": "/below", "root_path": "/below"}, "/"),
        ({"path": "/a", "root_path": "/below"}, "/a"),
        ({"path": "/a", "root_path": None}, "/a"),
    ],
)
def test_the_path_below_its_server(scope: dict[str, str], path: str) -> None:
    assert path_of(scope) == path
