"""Addresses of Redis taken apart: sentinels, and the numbers of databases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from sockets.redis.links import server_of, server_of_host

CONNECT_TIMEOUT = 2.0
"""Seconds that a connection gets to be made."""


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """`redis+sentinel://[user:password@]host[:port],host[:port]/db?service=name`, taken apart.

    `sentinel_username` and `sentinel_password` in the query: for the sentinels themselves.
    """

    service: str
    hosts: list[tuple[str, int]]
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Read a URL; None for another kind of URL. Raises ValueError."""
        if not url.startswith("redis+sentinel://"):
            return None
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        given = {"username": unquote(user), "password": unquote(password)}
        options: dict[str, Any] = {name: value for name, value in given.items() if value}
        options["db"] = _number(parts.path.strip("/") or "0")
        sentinel_options: dict[str, Any] = {}
        for name in ("username", "password"):
            if value := query.get(f"sentinel_{name}"):
                sentinel_options[name] = value
        return cls(
            query.get("service", "mymaster"),
            [host_and_port(host, "26379") for host in hosts.split(",")],
            options,
            sentinel_options,
        )


def is_same_login(host: dict[str, Any], url: str) -> bool:
    """Whether a host, as channels-redis writes one, is the server of `url` by the same login.

    The database may be another: pub/sub knows none. False where that is not certain.
    """
    if host == {"address": url}:
        return True
    if host.keys() <= {"host", "port", "db", "username", "password"}:
        login = (host.get("username"), host.get("password"))
        return _login_of(url) == ("redis", login, server_of_host(host))
    address = host.get("address")
    if len(host) > 1 or not isinstance(address, str):
        return False
    return _login_of(address) == _login_of(url) is not None


def _login_of(url: str) -> tuple[str, tuple[str | None, str | None], str] | None:
    """Return scheme, login and server of an address; None for those of several servers."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix") or parts.query:
        return None
    user, password = (text and unquote(text) for text in (parts.username, parts.password))
    return parts.scheme, (user or None, password or None), server_of(url)


def database_of(url: str) -> int:
    """Return the number of the database in an address; 0 where it names none."""
    parts = urlsplit(url)
    text = dict(parse_qsl(parts.query)).get("db") if parts.scheme == "unix" else parts.path
    text = (text or "").strip("/")
    return int(text) if text.isdecimal() else 0


def host_and_port(text: str, usual: str) -> tuple[str, int]:
    """Take a host apart from its port, or from the `usual` one. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, usual
    if not host:
        raise ValueError("the URL names a server without a host")
    return host.strip("[]"), _number(port)


def _number(text: str) -> int:
    if not text.isdecimal():  # a badly quoted password ends up here: never shown
        raise ValueError("the URL has a port or a database that is no number")
    return int(text)
