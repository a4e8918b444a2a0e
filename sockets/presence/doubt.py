"""What a node knows of presence while its own leases cannot be renewed.

Where Redis answers and refuses to write (no memory left, a replica, missing rights), leases run
out though nobody has gone. This node sees that on its own renewals: until they succeed again, and
for as long after that as the other nodes need for theirs, it calls nobody offline who was online
by the last decision, or who has a session here. Who is connected elsewhere it cannot know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from sockets.exceptions import GatewayUnavailable
from sockets.types import PresenceState, SessionInfo, UserPresence

SILENCE: Final = 0.6
"""Of a lease: whoever was silent for so long, and not only late, has been out of touch."""

CATCH_UP: Final = 0.25
"""Of a lease: the others have renewed theirs by then, if the store has come back for them too."""


class Doubt:
    """Belongs to the node's event loop.

    `lease`: seconds. `here`: the client sessions of a user at this node that had a lease. A node
    whose renewals never succeeded has known nobody, and doubts nothing.
    """

    def __init__(
        self,
        lease: float,
        here: Callable[[str], tuple[SessionInfo, ...]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease = lease
        self._here = here
        self._clock = clock
        self._renewed: float | None = None
        self._failing = False
        self._until = -float("inf")

    @property
    def active(self) -> bool:
        """Whether a user without a lease may be connected all the same."""
        return self._failing or self._clock() < self._until

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Round one renewal of everything: it succeeds, or raises GatewayUnavailable."""
        try:
            yield
        except GatewayUnavailable:
            self._failing = self._renewed is not None
            raise
        now = self._clock()
        if self._failing and self._renewed is not None:
            if now - self._renewed > SILENCE * self._lease:
                self._until = now + CATCH_UP * self._lease
            self._failing = False
        self._renewed = now

    def here(self, user: str) -> tuple[SessionInfo, ...]:
        """The user's sessions at this node, while there is doubt; oldest first."""
        found = self._here(user) if self.active else ()
        return tuple(sorted(found, key=lambda info: (info.connected_at, info.id)))

    def corrected(self, found: UserPresence, was_online: bool) -> UserPresence:
        """The presence of a user as this node answers it. `was_online`: by the last decision."""
        if found.state is not PresenceState.OFFLINE or not self.active:
            return found
        if was_online or self._here(found.user):
            return replace(found, state=PresenceState.IN_GRACE)
        return found
