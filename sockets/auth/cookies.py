"""Whose pages' cookies count, for whatever is authenticated by one (architecture.md, rule 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from sockets.auth.origins import header_values, normalise, origins_of
from sockets.conf import Conf, get_conf
from sockets.types import Surface


def own_origin(scope: Mapping[str, Any]) -> bool:
    """Whether the page is one of the very scheme, host and port that the request was made to.

    For whatever is authenticated by a cookie (architecture.md, rule 9): a browser sends cookies to
    every port of a host. Exactly one Origin and one Host are needed, and the host must be one of
    ALLOWED_HOSTS, or a name that somebody points at this machine would be its own page's. Whether
    it is https is what the socket URL of the surface says, for a proxy may end TLS; where none is
    set, what the connection is.
    """
    origins, hosts = origins_of(scope), header_values(scope, b"host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    secure = "https" if _is_tls(scope, get_conf()) else "http"
    own = normalise(f"{secure}://{hosts[0]}")
    if own is None or normalise(origins[0]) != own:
        return False
    name, _port = split_domain_port(hosts[0])
    return bool(name) and validate_host(name, settings.ALLOWED_HOSTS)


def _is_tls(scope: Mapping[str, Any], conf: Conf) -> bool:
    private = scope.get("gateway.surface") is Surface.PRIVATE
    url = conf.worker_socket_url if private else conf.client_socket_url
    if url is None:
        return scope.get("scheme") in ("wss", "https")
    return url.startswith("wss://")
