"""The opening handshake from headers that Twisted has parsed (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Fields = Iterable[tuple[str, str]]


def key_of(request: Any) -> bytes:
    """Return the key of a Twisted request for a WebSocket. Raises ValueError, in words for the
    peer, where it is no handshake."""

    def only(name: bytes) -> bytes:
        values = request.requestHeaders.getRawHeaders(name) or [b""]
        if len(values) > 1:
            raise ValueError(f"There is more than one {name.decode()}.")
        return bytes(values[0]).strip()

    if request.method != b"GET":
        raise ValueError("A WebSocket handshake is a GET.")
    if b"upgrade" not in only(b"connection").lower():
        raise ValueError("Connection does not say Upgrade.")
    if only(b"sec-websocket-version") != b"13":
        raise ValueError("The only version of WebSocket here is 13.")
    key = only(b"sec-websocket-key")
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        size = 0
    if size != 16:
        raise ValueError("Sec-WebSocket-Key is not 16 bytes in base64.")
    return key


def accepted(key: bytes, fields: Fields) -> bytes:
    """Return the response that accepts, with more fields of ours."""
    proof = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {proof}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
