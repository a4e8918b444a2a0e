"""Whose pages' cookies count, for whatever is authenticated by one (architecture.md, rule 9).

A cookie proves who the user is, and never whose page it is: a browser sends a host's cookies to
every port of it, and with SameSite=None to whatever any page opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from sockets.auth.origins import Origin, header_values, is_local, normalise, origins_of, rules_of
from sockets.base.client_address import peer_host, plain
from sockets.conf import Conf
from sockets.types import Surface

REFUSED: Final = (
    "a cookie counts only on pages of this origin, or https ones of CLIENT_ORIGIN: use a token"
)
"""Why a cookie was not looked at, for the close frame."""

_OF_DEVELOPMENT: Final = (".localhost", "127.0.0.1", "[::1]")
"""What Django takes for ALLOWED_HOSTS in DEBUG where there are none."""


def cookie_counts(scope: Mapping[str, Any], conf: Conf) -> bool:
    """Whether the cookies of a client socket's handshake are its page's to use.

    They are on pages of the socket's own origin, and on those that CLIENT_ORIGIN names exactly by
    https: naming one is the consent. Never by `*`, an entry with `*.` or an app's scheme, and never
    without an Origin. In development also on pages that it names by http, and on those of this
    machine, where the socket itself is opened on this machine by one of its loopback names.
    """
    if own_origin(scope, conf):
        return True
    given = origins_of(scope)
    origin = normalise(given[0]) if len(given) == 1 else None
    if origin is None:
        return False
    if _is_named(origin, conf):
        return True
    return conf.environment == "development" and is_local(origin) and _is_on_this_machine(scope)


def own_origin(scope: Mapping[str, Any], conf: Conf) -> bool:
    """Whether the page is one of the very scheme, host and port that the request was made to.

    Exactly one Origin and one Host are needed, and the host must be one of ALLOWED_HOSTS, or a name
    that somebody points at this machine would be its own page's. Whether it is https is what the
    socket URL of the surface says, for a proxy may end TLS; where none is set, what the connection
    is.
    """
    origins, hosts = origins_of(scope), header_values(scope, b"host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    secure = "https" if _is_tls(scope, conf) else "http"
    own = normalise(f"{secure}://{hosts[0]}")
    if own is None or normalise(origins[0]) != own:
        return False
    name, _port = split_domain_port(hosts[0])
    return bool(name) and validate_host(name, _allowed_hosts())


def _allowed_hosts() -> list[str]:
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return list(_OF_DEVELOPMENT)
    return list(settings.ALLOWED_HOSTS)


def _is_named(origin: Origin, conf: Conf) -> bool:
    """Whether an entry of CLIENT_ORIGIN is this very origin, by a scheme that is safe to name."""
    schemes = ("https", "http") if conf.environment == "development" else ("https",)
    rules = rules_of(conf.client_origins)
    return origin[0] in schemes and any(r.origin == origin for r in rules if not r.below)


def _is_on_this_machine(scope: Mapping[str, Any]) -> bool:
    """Whether the handshake was made to a loopback name, and came from this machine."""
    hosts = header_values(scope, b"host")
    own = normalise(f"http://{hosts[0]}") if len(hosts) == 1 else None
    try:
        return own is not None and is_local(own) and ip_address(plain(peer_host(scope))).is_loopback
    except ValueError:
        return False  # a Unix socket, or a name of the server's own


def _is_tls(scope: Mapping[str, Any], conf: Conf) -> bool:
    private = scope.get("gateway.surface") is Surface.PRIVATE
    url = conf.worker_socket_url if private else conf.client_socket_url
    if url is None:
        return scope.get("scheme") in ("wss", "https")
    return url.startswith("wss://")
