"""The paths that the gateway serves itself: by each surface, exactly, and nothing beside them."""

from __future__ import annotations

from sockets.conf import Conf
from sockets.types import Surface

HEALTH, READY, METRICS = "/healthz", "/readyz", "/metrics"
OPERATIONS = frozenset({HEALTH, READY, METRICS})
"""What machines ask that look after the node: they always get in, by any host name."""

BROWSER_CLIENT, SOURCE_MAP = "/gateway.js", "/gateway.js.map"

_PUBLIC = frozenset({HEALTH, BROWSER_CLIENT, SOURCE_MAP})
_EXACT = {Surface.PUBLIC: _PUBLIC, Surface.PRIVATE: OPERATIONS, Surface.BOTH: OPERATIONS | _PUBLIC}


def exact_paths(surface: Surface) -> frozenset[str]:
    """Return those that the gateway has at this surface beside the HTTP API."""
    return _EXACT[surface]


def is_own(conf: Conf, surface: Surface, path: str) -> bool:
    """Whether the gateway answers HTTP for this path itself."""
    return path in exact_paths(surface) or is_api(conf, surface, path)


def is_operation(surface: Surface, path: str) -> bool:
    """Whether machines that look after the node ask for this path here."""
    return path in OPERATIONS and path in exact_paths(surface)


def is_api(conf: Conf, surface: Surface, path: str) -> bool:
    """Whether this is a path of the HTTP API, which the public surface has not."""
    return surface is not Surface.PUBLIC and path.startswith(conf.api_path)


def own_paths(conf: Conf) -> list[str]:
    """Return all of them; of the API the path that its own begin with."""
    return [*sorted(OPERATIONS | _PUBLIC), conf.api_path]
