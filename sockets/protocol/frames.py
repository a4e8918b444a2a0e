"""RFC 6455 server frames, built once and written to many sockets.

A server does not mask and daphne never negotiates permessage-deflate, so a text frame is two to
ten bytes of header and the text (RFC 6455 section 5.2). That is what makes it shareable.
"""

from __future__ import annotations

_FIN_TEXT = 0x81


def text_frame(payload: bytes) -> bytes:
    """Return one unfragmented, unmasked text frame round `payload` (UTF-8)."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN_TEXT, size)) + payload
    if size < 65536:
        return bytes((_FIN_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN_TEXT, 127)) + size.to_bytes(8, "big") + payload


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
