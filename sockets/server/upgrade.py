"""The handshake of an ordinary WebSocket, read once.

daphne writes the request that Twisted has read as bytes again, and autobahn reads those: a sixth of
what a connect costs. What is ordinary in every respect goes on as it was read the first time.
Anything else goes by daphne and autobahn, which say what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

_PATH: Final = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,=:@%-][A-Za-z0-9._~!$&'()*+,=:@%/-]*)?")
_QUERY: Final = re.compile(rb"[!-\"$-~]*")
_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
_VALUE: Final = re.compile(rb"[ -~]*")
_HOST: Final = re.compile(rb"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(rb"https?://[A-Za-z0-9.-]+(?::[0-9]{1,4})?")
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_PROTOCOLS: Final = re.compile(rb"[^ ,]+(?:, ?[^ ,]+)*")
_EXTENSIONS: Final = frozenset(
    (b"", b"permessage-deflate", b"permessage-deflate; client_max_window_bits")
)
"""What browsers offer; none is accepted."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A handshake that nothing is wrong with. `headers`: of the ASGI scope. `key`: as it came."""

    path: str
    headers: list[tuple[bytes, bytes]]
    protocols: list[str]
    key: str


def ordinary(request: Any) -> Upgrade | None:
    """Return what a request of Twisted's asks for; None: others have to look at it."""
    target, _, query = request.uri.partition(b"?")
    if request.method != b"GET" or not (_PATH.fullmatch(target) and _QUERY.fullmatch(query)):
        return None
    given: dict[bytes, bytes] = {}
    for name, values in request.requestHeaders.getAllRawHeaders():
        if len(values) != 1 or not _NAME.fullmatch(name) or not _VALUE.fullmatch(values[0]):
            return None
        given[name.lower()] = values[0].strip()
    if given.get(b"upgrade", b"").lower() != b"websocket" or not _is_in_order(given):
        return None
    protocols = _protocols(given.pop(b"sec-websocket-protocol", None))
    if protocols is None:
        return None
    key = given[b"sec-websocket-key"].decode()
    return Upgrade(target.decode(), list(given.items()), protocols, key)


def _is_in_order(given: dict[bytes, bytes]) -> bool:
    connection = given.get(b"connection", b"").lower()
    origin = given.get(b"origin")
    return (
        (connection == b"upgrade" or b"upgrade" in connection.replace(b" ", b"").split(b","))
        and given.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(given.get(b"sec-websocket-key", b"")) is not None
        and _HOST.fullmatch(given.get(b"host", b"")) is not None
        and (origin is None or origin == b"null" or _ORIGIN.fullmatch(origin) is not None)
        and given.get(b"sec-websocket-extensions", b"") in _EXTENSIONS
    )


def _protocols(offered: bytes | None) -> list[str] | None:
    """Return the subprotocols that are offered; None: they are not ordinary."""
    if offered is None:
        return []
    if not _PROTOCOLS.fullmatch(offered):
        return None
    names = [name.strip() for name in offered.decode().split(",")]
    return names if len(names) == len(set(names)) else None
