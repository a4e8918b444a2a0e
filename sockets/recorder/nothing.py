"""The recorder of a gateway that keeps no history: SESSION_HISTORY=false."""

from __future__ import annotations

from sockets.types import SessionInfo


class NoRecorder:
    """Takes every note and writes no row; there is no thread, and the database is not asked."""

    trouble = ""

    def session_opened(self, info: SessionInfo) -> None:
        """Nothing is kept of it."""

    def session_closed(self, session_id: str, *, at: float, code: int, reason: str) -> None:
        """Nothing is kept of it."""

    def node_seen(self, at: float) -> None:
        """Nothing is kept of it."""

    def rename(self, node: str) -> None:
        """No row has the name."""

    def node_died(self, name: str, *, started: float, at: float) -> None:
        """It has no rows to close."""

    def start(self, *, client_url: str, worker_url: str, version: str) -> None:
        """There is nothing to begin."""

    def stop(self, timeout: float) -> bool:
        """Return that nothing is left to write."""
        return True
