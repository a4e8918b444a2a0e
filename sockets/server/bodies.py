"""Bodies of requests in memory."""

from __future__ import annotations


class BodyMemory:
    """Bytes of bodies that one port holds at once, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int) -> bool:
        """Whether there is space for so many more."""
        if self.held + size > self._most:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """So many are held no more."""
        self.held -= size
