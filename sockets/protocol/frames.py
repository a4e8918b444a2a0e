"""RFC 6455 server frames, built once and written to many sockets.

A server does not mask and daphne never negotiates permessage-deflate, so a text frame is two to
ten bytes of header and the text (RFC 6455 section 5.2). That is what makes it shareable.
"""

from __future__ import annotations

from struct import Struct

_FIN_TEXT = 0x81
_SHORT, _LONGER, _LONGEST = (Struct(form).pack for form in (">BB", ">BBH", ">BBQ"))


def text_frame(payload: bytes) -> bytes:
    """Return one unfragmented, unmasked text frame round `payload` (UTF-8)."""
    size = len(payload)
    if size < 126:
        return _SHORT(_FIN_TEXT, size) + payload
    if size < 65536:
        return _LONGER(_FIN_TEXT, 126, size) + payload
    return _LONGEST(_FIN_TEXT, 127, size) + payload


_MASKED = 0x80
_PONGS = {len(text): int.from_bytes(text) for text in (b'{"type":"pong"}', b'{"type": "pong"}')}
"""The answer to a ping as `JSON.stringify` and Python's `json.dumps` write it, by its length."""

PONG_SIZES = frozenset(6 + size for size in _PONGS)
"""Bytes of such a frame from a client: two of header, four of mask, the text."""


def is_pong(data: bytes) -> bool:
    """Return whether these bytes are one whole frame of a client that answers our ping.

    It is most of what idle clients send, and costs a tenth of what a frame does that is decoded.
    """
    size = len(data) - 6
    pong = _PONGS.get(size)
    if pong is None or data[0] != _FIN_TEXT or data[1] != _MASKED | size:
        return False
    mask = (data[2:6] * 4)[:size]
    return int.from_bytes(data[6:]) ^ int.from_bytes(mask) == pong


class Frame:
    """One outgoing message in the two forms that outboxes need, each made at most once.

    Immutable by convention and shared by all sessions of a node that get the same message.
    """

    __slots__ = ("_text", "_wire", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._wire: bytes | None = None
        self._text: str | None = None

    def __len__(self) -> int:
        return len(self.payload)

    @property
    def wire(self) -> bytes:
        """The WebSocket frame, for a transport."""
        if self._wire is None:
            self._wire = text_frame(self.payload)
        return self._wire

    @property
    def text(self) -> str:
        """The JSON text, for an ASGI `websocket.send`."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text
