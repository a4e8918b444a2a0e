"""Bodies of requests in memory."""

from __future__ import annotations


class BodyMemory:
    """Bytes of bodies that one port holds at once, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int) -> bool:
        """Take space for so many more bytes. Returns whether there was any."""
        if self.held + size > self._most:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """Give the space of so many bytes back."""
        self.held -= size
