"""Which pages may reach the gateway: origins, and the rules that settings hold.

Browsers send the Origin of the page and let nobody change it; programs send none, and are asked for
their token all the same. An origin is scheme, host and port, and nothing else (RFC 6454). Pages of
apps and extensions have schemes of their own (capacitor, tauri, chrome-extension), which know
neither subdomains nor a default port. `null`, which a page without an origin sends, is never let
in: it is everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final

import idna

from sockets.auth.handshake import claims_in, peer_address
from sockets.auth.refused_pages import RefusalLog, remedy
from sockets.base import audit, metrics, refusals
from sockets.base.client_address import peer_host
from sockets.conf import Conf
from sockets.types import Audit, Kind, Surface

Origin = tuple[str, str, int | None]
"""Scheme and host in lower case (an IPv6 address in brackets, shortest form), and the port: None
where an app's origin names none, for its scheme has no default."""

_NOT_ALLOWED: Final = "the origin is not allowed"

MAX_ORIGIN: Final = 300
"""Characters of an origin: a host name has at most 253. What is longer is none, and is not looked
at."""

_DEFAULT_PORT: Final = {"http": 80, "https": 443}
_WEB: Final = {"ws": "http", "wss": "https"}
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,63}")
_FORM: Final = re.compile(
    rf"({_SCHEME.pattern})://"
    r"((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)
_NO_PAGES: Final = frozenset(
    {"about", "blob", "data", "file", "ftp", "javascript", "null", "ws", "wss"}
)
"""Schemes that no page's origin has, or that are one for pages of everybody."""

_NULL: Final = re.compile(r"(?:^|[\s,])null(?:$|[\s,])", re.IGNORECASE)
_SHOWN: Final = 200
_FORBIDDEN: Final = 403

_refusals = RefusalLog()


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a setting: an origin, or with `below` all subdomains of its host (http and
    https only)."""

    origin: Origin
    below: bool = False

    def takes(self, origin: Origin) -> bool:
        """Whether the rule is for this origin. `below`: for subdomains at any depth, and never the
        host itself."""
        if not self.below:
            return origin == self.origin
        scheme, host, port = self.origin
        return origin[::2] == (scheme, port) and origin[1].endswith(f".{host}")

    def __str__(self) -> str:
        """Return the rule as browsers write an origin: lower case, A-labels, no default port."""
        scheme, host, port = self.origin
        end = "" if port == _DEFAULT_PORT.get(scheme) else f":{port}"
        return f"{scheme}://{'*.' if self.below else ''}{host}{end}"


def parse_rule(text: str) -> Rule:
    """Return the rule that `scheme://host[:port]` is, or with http and https
    `scheme://*.host[:port]`.

    Names beyond ASCII are turned into the A-labels that browsers send (UTS 46, as they do it).
    Raises ValueError, which says what is wrong without the text itself.
    """
    if is_nowhere(text):
        raise ValueError("it is what pages without an origin send, and they are never let in")
    scheme, slashes, rest = text.partition("://")
    scheme = scheme.lower()
    if not slashes or scheme in _NO_PAGES or _SCHEME.fullmatch(scheme) is None:
        raise ValueError("it does not begin with https:// or http://")
    if scheme not in _DEFAULT_PORT:
        _check_app(scheme, rest)
    if "@" in rest:
        raise ValueError("it holds a user or a password")
    if any(sign in rest for sign in "/?#"):
        raise ValueError("it has more than scheme, host and port")
    below = rest.startswith("*.")
    rest = rest.removeprefix("*.")
    if "*" in rest:
        raise ValueError("its * is not the whole first label")
    host, colon, port = ("", "", "") if rest.startswith("[") else rest.partition(":")
    origin = normalise(
        f"{scheme}://{_a_labels(host)}{colon}{port}" if host else f"{scheme}://{rest}"
    )
    if origin is None or origin[2] == 0:
        raise ValueError("it has no proper host or port")
    if below and (_is_address(origin[1]) or "." not in origin[1]):
        raise ValueError("its * covers a whole top-level domain, or an address")
    return Rule(origin, below)


def normalise(text: str) -> Origin | None:
    """Take an Origin header apart; None if it is none ("null", a path, a user, no scheme, or one
    that pages do not have)."""
    if len(text) > MAX_ORIGIN or not text.isascii():
        return None
    found = _FORM.fullmatch(text.lower().removesuffix("/"))
    if found is None:
        return None
    scheme, host, digits = found.groups()
    port = _DEFAULT_PORT.get(scheme) if digits is None else int(digits)
    if scheme in _NO_PAGES or (port is not None and port > 65535):
        return None
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except AddressValueError:
            return None
    return scheme, host, port


def is_nowhere(text: str) -> bool:
    """Whether this is `null`, holds it, or is `file://`: what pages without an origin send."""
    return _NULL.search(text) is not None or text.lower().startswith("file:")


def is_local(origin: Origin) -> bool:
    """Whether a page of this very machine is meant, by http or https, whatever its port."""
    scheme, host, _ = origin
    if scheme not in _DEFAULT_PORT:
        return False
    if host in ("localhost", "[::1]") or host.endswith(".localhost"):
        return True
    try:
        return IPv4Address(host).is_loopback
    except AddressValueError:
        return False


def listed(origin: Origin, rules: Collection[Rule], conf: Conf) -> bool:
    """Whether a setting's rules take this origin; in development pages of this machine are taken
    without one."""
    if conf.environment == "development" and is_local(origin):
        return True
    return any(rule.takes(origin) for rule in rules)


def origin_allowed(scope: Mapping[str, Any], conf: Conf, own_urls: Collection[str]) -> bool:
    """Whether the handshake's Origin may be served.

    Allowed: none at all, those of CLIENT_ORIGIN, and the gateway's own addresses (`own_urls`,
    ws or wss), whose pages it serves itself; in development also every page of this machine.
    """
    given = origins_of(scope)
    if not given:
        return True
    if len(given) > 1:
        return False
    if "*" in conf.client_origins:
        return not is_nowhere(given[0])
    origin = normalise(given[0])
    if origin is None:
        return False
    own = _own(tuple(own_urls), conf.environment != "production")
    return origin in own or listed(origin, rules_of(conf.client_origins), conf)


def admits(scope: Mapping[str, Any], conf: Conf, own_urls: Collection[str]) -> bool:
    """Whether `origin_allowed`; a refusal is counted and written into the logs."""
    if origin_allowed(scope, conf, own_urls):
        return True
    refuse_origin(scope, Surface.PUBLIC, conf)
    refusals.note(
        Kind.CLIENT,
        _FORBIDDEN,
        _NOT_ALLOWED,
        address=peer_host(scope),
        **claims_in(scope),
    )
    return False


def refuse_origin(scope: Mapping[str, Any], surface: Surface, conf: Conf) -> None:
    """Count and record that a page was refused, and log what to set; the caller answers 403."""
    metrics.count_refusal(_FORBIDDEN)
    audit.record(
        Audit.REFUSED,
        surface=surface.value,
        code=_FORBIDDEN,
        reason=_NOT_ALLOWED,
        origin=", ".join(origins_of(scope))[:_SHOWN],
        address=peer_address(scope),
    )
    _refusals.tell(how_to_admit(scope, surface, conf))


def how_to_admit(scope: Mapping[str, Any], surface: Surface, conf: Conf) -> str:
    """Return one line that says what to set so that the page of this request is let in."""
    if surface is Surface.PUBLIC:
        return _advice(scope, "CLIENT_ORIGIN", conf.client_origins, _by_http(scope, conf))
    return _advice(scope, "API_ORIGIN", conf.api_origins)


def refuse_form(scope: Mapping[str, Any], setting: str, now: Collection[str]) -> str:
    """Log and return the same for the page of a form that Django refuses. `setting`: what lists
    such pages; `now`: what it has."""
    line = _advice(scope, setting, tuple(now))
    _refusals.tell(line)
    return line


def _by_http(scope: Mapping[str, Any], conf: Conf) -> str:
    """Return what a page without TLS needs beside its entry; "": nothing."""
    given = origins_of(scope)
    origin = normalise(given[0]) if len(given) == 1 else None
    cookies = {"session", "proxy"} & set(conf.auth)
    if not cookies or conf.environment == "development" or origin is None or origin[0] != "http":
        return ""
    tokens = {"jwt", "proxy"} & set(conf.auth)
    remedy = "serve it by https" + (", or let it bring a token" if tokens else "")
    return f"; but its cookie does not count by http (only in development): {remedy}"


def _advice(scope: Mapping[str, Any], setting: str, now: tuple[str, ...], more: str = "") -> str:
    """Return the line. Of the request it holds nothing but an origin in its normal form, so that it
    may stand in a log and in an answer."""
    given = origins_of(scope)
    origin = normalise(given[0]) if len(given) == 1 else None
    shown = None if origin is None else str(Rule(origin))
    return remedy(setting, now, shown, nowhere=any(map(is_nowhere, given)), more=more)


def origins_of(scope: Mapping[str, Any]) -> list[str]:
    """Return every Origin header of the request, as it came."""
    return header_values(scope, b"origin")


def header_values(scope: Mapping[str, Any], wanted: bytes) -> list[str]:
    """Return every value of a header of the request. `wanted`: its name in lower case."""
    headers = scope.get("headers", ())
    return [value.decode("latin-1") for name, value in headers if name == wanted]


@lru_cache(maxsize=8)
def rules_of(texts: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return the rules of a setting. What is no rule allows nothing; its reader has refused it by
    then."""
    found = []
    for text in texts:
        try:
            found.append(parse_rule(text))
        except ValueError:
            continue
    return tuple(found)


@lru_cache(maxsize=8)
def _own(urls: tuple[str, ...], one_machine: bool) -> frozenset[Origin]:
    """Return the origins of our own pages. `one_machine`: the three names of this machine are
    one."""
    found = set()
    for url in urls:
        scheme, _, rest = url.partition("://")
        own = normalise(f"{_WEB.get(scheme, scheme)}://{rest.partition('/')[0]}")
        if own is None:
            continue
        found.add(own)
        scheme, host, port = own
        if one_machine and host in _LOOPBACK:
            found.update((scheme, name, port) for name in _LOOPBACK)
    return frozenset(found)


def _check_app(scheme: str, rest: str) -> None:
    """Raise ValueError unless this may be the origin of an app or an extension."""
    if get_close_matches(scheme, _DEFAULT_PORT, cutoff=0.75):
        raise ValueError("its scheme is a letter away from http or https")
    if "*" in rest:
        raise ValueError("its * stands for subdomains, and only http and https have them")
    if not rest.isascii():
        raise ValueError("its name is not ASCII, and only http and https have such names")


def _a_labels(host: str) -> str:
    """Return the name as browsers send it. Raises ValueError."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError("its name cannot be written in ASCII") from None


def _is_address(host: str) -> bool:
    """Whether it is an IP address; browsers take whatever ends in a number for one."""
    if host.startswith("["):
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return host.rpartition(".")[2].isdigit()
    return True
