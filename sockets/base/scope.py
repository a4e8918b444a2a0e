"""What an ASGI scope says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def path_of(scope: Mapping[str, Any]) -> str:
    """Return the path of a request or handshake, without what its server stands below."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path") or "") or "/"
