"""The handshake of an ordinary WebSocket, read once.

Stock daphne has Twisted read the request, writes it as bytes again, and has autobahn read those: a
third of what a connect costs. What is ordinary in every respect is read here, once. Anything else
goes by Twisted, daphne and autobahn, which say what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_HEAD: Final = re.compile(
    rb"GET (/|/[A-Za-z0-9._~!$&'()*+,=:@%-][A-Za-z0-9._~!$&'()*+,=:@%/-]*)"  # no "//host", no ";"
    rb"(?:\?([!\"$-~]*))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
)
_HOST: Final = re.compile(rb"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(rb"https?://[A-Za-z0-9.-]+(?::[0-9]{1,4})?")
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_PROTOCOLS: Final = re.compile(rb"[^ ,]+(?:, ?[^ ,]+)*")
_UPGRADE: Final = re.compile(rb"(?:^|,) *upgrade *(?:,|$)")
_EXTENSIONS: Final = frozenset(
    (b"", b"permessage-deflate", b"permessage-deflate; client_max_window_bits")
)
"""What browsers offer; none is accepted."""

_OTHERS: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"expect", b"daphne-root-path")
)
"""Headers that somebody else has to look at."""

MOST_HEADERS: Final = 100


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A handshake that nothing is wrong with. `headers`: of the ASGI scope. `key`: as it came."""

    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    protocols: list[str]
    key: str


def ordinary(data: bytes) -> Upgrade | None:
    """Return what a request asks for that is here whole, and nothing else; None: others have to
    look at it."""
    head = _HEAD.fullmatch(data)
    if head is None:
        return None
    lines = head[3].split(b"\r\n")[:-1]
    given: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        given[name.lower()] = value.strip()
    if not len(given) == len(lines) <= MOST_HEADERS or not _is_in_order(given):
        return None
    protocols = _protocols(given.pop(b"sec-websocket-protocol", None))
    if protocols is None:
        return None
    key = given[b"sec-websocket-key"].decode()
    return Upgrade(head[1].decode(), head[2] or b"", list(given.items()), protocols, key)


def _is_in_order(given: dict[bytes, bytes]) -> bool:
    origin = given.get(b"origin")
    return (
        given.get(b"upgrade", b"").lower() == b"websocket"
        and _UPGRADE.search(given.get(b"connection", b"").lower()) is not None
        and given.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(given.get(b"sec-websocket-key", b"")) is not None
        and _HOST.fullmatch(given.get(b"host", b"")) is not None
        and (origin is None or origin == b"null" or _ORIGIN.fullmatch(origin) is not None)
        and given.get(b"sec-websocket-extensions", b"") in _EXTENSIONS
        and _OTHERS.isdisjoint(given)
    )


def _protocols(offered: bytes | None) -> list[str] | None:
    """Return the subprotocols that are offered; None: they are not ordinary."""
    if offered is None:
        return []
    if not _PROTOCOLS.fullmatch(offered):
        return None
    names = [name.strip() for name in offered.decode().split(",")]
    return names if len(names) == len(set(names)) else None
