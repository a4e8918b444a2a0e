"""Which pages may open a client socket: exact scheme, host and port.

Browsers send the Origin of the page and let nobody change it; programs send none, and are asked
for their token all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from sockets.conf import Conf

_DEFAULT_PORT = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def origin_allowed(scope: Mapping[str, Any], conf: Conf, own_urls: Collection[str]) -> bool:
    """Whether the handshake's Origin may be served.

    Allowed: none at all, those of CLIENT_ORIGIN, and the gateway's own addresses (`own_urls`,
    ws or wss), whose pages it serves itself.
    """
    given = [value for name, value in scope.get("headers", ()) if name == b"origin"]
    if not given:
        return True
    if len(given) > 1:
        return False
    if "*" in conf.client_origins:
        return True
    origin = normalise(given[0].decode("latin-1"))
    if origin is None:
        return False
    allowed = {normalise(value) for value in conf.client_origins}
    for url in own_urls:
        own = _as_page(url)
        allowed.add(own)
        # In development the three names of this machine are one place.
        if own is not None and conf.environment != "production":
            scheme, host, port = own
            if host in _LOOPBACK:
                allowed.update((scheme, name, port) for name in _LOOPBACK)
    return origin in allowed


def own_origin(origin: str, own_url: str) -> bool:
    """Whether this is the origin of the gateway's own address (ws or wss), exactly.

    Browsers send a host's cookies to all of its ports, so a cookie proves who the user is, and
    never that the page is theirs: only pages of this very origin may use one (rule 11).
    """
    given = normalise(origin)
    return given is not None and given == _as_page(own_url)


def _as_page(url: str) -> tuple[str, str, int] | None:
    parts = urlsplit(url)
    return normalise(f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}")


def normalise(origin: str) -> tuple[str, str, int] | None:
    """(scheme, host, port) of an origin, or None if it is none ("null", a path, no scheme)."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname or parts.username is not None:
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host, _DEFAULT_PORT[parts.scheme] if port is None else port
