"""Addresses out of text: URLs, origins, proxies, servers of Redis. Passwords are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from sockets.auth.origins import is_nowhere, parse_rule
from sockets.base.client_address import Trusted, parse_trusted
from sockets.redis import SentinelGroup
from sockets.variables.faults import Items, Wrong
from sockets.variables.values import SHOWN, parse_words

CLUSTER: Final = "redis+cluster://"

_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_REDIS: Final = "write redis://HOST:PORT/0, rediss://… or redis+sentinel://HOST,HOST/0?service=NAME"


def parse_url(name: str, text: str, schemes: Iterable[str]) -> str:
    """Read a URL with a host and without user, query or fragment. Returns it without a slash at its
    end."""
    parts = _split(name, text, tuple(schemes))
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise Wrong(name, "it has a query or a fragment", "end it before the ? or #")
    return text.rstrip("/")


def parse_url_path(name: str, text: str) -> str:
    """Read the path of a URL as it stands in one: printable ASCII without query or fragment."""
    if _PATH.fullmatch(text) is None:
        raise Wrong(name, "it is not the path of a URL", "write /such/a/path, without a query")
    return text


def parse_origins(name: str, text: str, below: bool) -> tuple[str, ...]:
    """Read a comma list of origins, or "*". Returns them as browsers write them (lower case, no
    default port).

    `below`: `scheme://*.host` may stand for all subdomains of a host, and an origin may be that of
    an app (`capacitor://localhost`).
    """
    items = parse_words(name, text)
    if "*" in items and len(items) > 1:
        raise Wrong(name, "* stands beside other origins", "give * alone or a list without it")
    if items == ("*",):
        return items
    found: list[str] = []
    faults = Items()
    for item in items:
        with faults.each():
            found.append(_origin(name, item, below=below))
    faults.refuse()
    return tuple(found)


def _origin(name: str, item: str, *, below: bool) -> str:
    """Return one origin in the form that browsers send."""
    remedy = "write scheme://host or scheme://host:port, without a path"
    if is_nowhere(item):
        remedy = "serve those pages by http or https, and list that origin"
    try:
        rule = parse_rule(item)
    except ValueError as error:
        shown = "" if "@" in item else f"{item[:SHOWN]!r}: "  # before the @ may be a password
        raise Wrong(name, f"{shown}{error}", remedy) from None
    if rule.below and not below:
        raise Wrong(name, f"{item[:SHOWN]!r} is more than one origin", remedy)
    if rule.origin[0] not in ("http", "https") and not below:
        raise Wrong(name, f"{item[:SHOWN]!r} is the origin of an app", "list http and https only")
    return str(rule)


def parse_proxies(name: str, text: str) -> Trusted:
    """Read a count of proxies, or the networks that they are in."""
    try:
        return parse_trusted(parse_words(name, text))
    except ValueError as error:
        raise Wrong(name, str(error), "write a count, or networks as 10.0.0.0/8") from None


def parse_redis(name: str, url: str, database: int) -> str:
    """Read the address of a Redis server. Returns it with its database number, from the URL or
    `database`.

    Only its form is looked at.
    """
    if url.startswith(CLUSTER):
        if database or urlsplit(url).path.strip("/"):
            raise Wrong(name, "a Cluster has no database numbers", "leave the number out")
        return url
    if url.startswith("redis+sentinel://"):
        try:
            SentinelGroup.of(url)
        except ValueError:
            raise Wrong(name, "it is not a proper URL", _REDIS) from None
    elif not url.startswith("unix:///"):
        _split(name, url, ("redis", "rediss", "unix"), user=True)
    parts = urlsplit(url)
    if parts.scheme == "unix":
        given = dict(parse_qsl(parts.query)).get("db")
    else:
        given = parts.path.strip("/")
    if given and not given.isdecimal():
        raise Wrong(name, "its path is no database number", _REDIS)
    if given or not database:
        if given and database and int(given) != database:
            raise Wrong(name, f"it names database {given}, REDIS_DB {database}", "name one of them")
        return url
    if parts.scheme == "unix":  # urlunsplit would lose its slashes
        return f"{url}{'&' if parts.query else '?'}db={database}"
    return urlunsplit(parts._replace(path=f"/{database}"))


def parse_several_redis(name: str, text: str) -> tuple[str, ...]:
    """Read addresses of Redis servers, separated by spaces."""
    return tuple(parse_redis(name, url, 0) for url in text.split())


def _split(name: str, text: str, schemes: tuple[str, ...], *, user: bool = False) -> SplitResult:
    """Take a URL apart; Wrong unless it has one of `schemes`, a host and a proper port.

    `user`: it may hold a user and a password, so that it is never shown.
    """
    remedy = f"write {' or '.join(f'{scheme}://HOST:PORT' for scheme in schemes[:2])}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Wrong(name, "it is not a proper URL", remedy) from None
    if "@" in parts.netloc and not user:
        raise Wrong(name, "it holds a user or a password", remedy)
    if parts.scheme not in schemes:
        raise Wrong(name, f"it does not begin with {' or '.join(schemes)} and ://", remedy)
    if not parts.hostname or port == 0 or re.search(r"\s", text):
        raise Wrong(name, "it is not a proper URL", remedy)
    return parts
