"""What a presence backend promises; `tests/contracts/test_presence.py` holds each one to it.

A session is present while its lease runs. Nothing here closes a socket: `register` and `renew`
say what has to be closed, and `sockets/sessions.py` has it done. Time is the backend's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from sockets.types import SessionInfo


class Presence(Protocol):
    """The leases of all sessions, clients and workers. Any method may raise GatewayUnavailable."""

    async def register(self, info: SessionInfo) -> tuple[SessionInfo, ...]:
        """Begin a lease; returns the live sessions of the same client id that it replaced.

        One step: of two that register at once, exactly one is returned to the other.
        """

    async def renew(self, infos: Sequence[SessionInfo]) -> list[str]:
        """Extend leases; returns the ids that must be closed because they were replaced.

        A lease that ran out (a frozen process) begins anew, unless its client id has another
        session by now.
        """

    async def release(self, info: SessionInfo) -> None:
        """End a lease; idempotent, and harmless to a session that replaced this one."""

    async def is_online(self, user: str) -> bool:
        """Whether the user has a live client session."""

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """The user's live client sessions, oldest first."""

    async def online(self, users: Iterable[str]) -> dict[str, bool]:
        """`is_online` for many."""


class SyncPresence(Protocol):
    """What Django code asks of it, for threads: as of `Presence`."""

    def is_online(self, user: str) -> bool: ...

    def sessions_of(self, user: str) -> list[SessionInfo]: ...

    def counts(self, users: Sequence[str]) -> list[int]:
        """How many live client sessions each of the users has."""
