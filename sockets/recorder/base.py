"""What a node needs of its recorder."""

from __future__ import annotations

from typing import Protocol

from sockets.types import SessionInfo


class SessionRecorder(Protocol):
    """Takes notes of sessions and nodes, safely on an event loop: no query, no error.

    `at`, `started`: seconds since the epoch.
    """

    @property
    def trouble(self) -> str:
        """What is wrong with the database; "": nothing."""

    def session_opened(self, info: SessionInfo) -> None:
        """A session began; one that had been closed is open again."""

    def session_closed(self, session_id: str, *, at: float, code: int, reason: str) -> None:
        """A session ended."""

    def node_seen(self, at: float) -> None:
        """A heartbeat of this node."""

    def rename(self, node: str) -> None:
        """This node is called so from now on."""

    def node_died(self, name: str, *, started: float, at: float) -> None:
        """Another node is dead: its sessions are to be closed as lost."""

    def start(self, *, client_url: str, worker_url: str, version: str) -> object:
        """Begin to write, and close what the process before this one left open."""

    def stop(self, timeout: float) -> bool:
        """Write what is left, for at most `timeout` seconds. Returns whether all was written."""
