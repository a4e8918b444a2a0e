"""What a dead node left undone: settled and announced by the node that finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from sockets.cluster.registry import Nodes
from sockets.events.feed import Events
from sockets.presence.base import Effects, Presence
from sockets.sessions.tracker import PresenceTracker
from sockets.types import Kind, NodeInfo, PresenceChange

BATCH = 500
"""Users settled in one call."""

TIMEOUT = 10.0
"""Seconds to announce what a dead node had not; then somebody tries again later."""


class Handover:
    """Belongs to the node's event loop. Any method may raise GatewayUnavailable.

    `tracker`: of this node, which sees to what cannot be settled yet.
    """

    def __init__(
        self, *, presence: Presence, nodes: Nodes, events: Events, tracker: PresenceTracker
    ) -> None:
        self._presence = presence
        self._nodes = nodes
        self._events = events
        self._tracker = tracker

    async def finish_for(self, dead: NodeInfo) -> bool:
        """Settle and announce what a dead node had not. Returns whether nothing of it is left."""
        for kind in Kind:
            while users := await self._nodes.users_of(dead.id, kind, BATCH):
                await self._nodes.keep_claim(dead.id)
                by = dead.id if self._events.changes_wanted else ""
                settled = await self._presence.settle(
                    users, by, kind=kind, dead=dead.name, until=self._tracker.latest()
                )
                done = await self._finish(kind, settled)
                await self._nodes.remove_users(dead.id, kind, done)
                if not done:
                    return False
        return True

    async def _finish(self, kind: Kind, settled: dict[str, Effects]) -> list[str]:
        """Announce what was settled. Returns the users about whom nothing is left to be done."""
        for effects in settled.values():
            self._tracker.announce_lost(effects)
        announced = await self._announce(
            [change for effects in settled.values() for change in effects.changes]
        )
        done = []
        for user, effects in settled.items():
            if effects.wait is not None:
                await self._tracker.take_over((kind, user), effects.wait)
            if all(change in announced for change in effects.changes):
                done.append(user)
        await self._presence.announced(announced)
        return done

    async def _announce(self, changes: Iterable[PresenceChange]) -> set[PresenceChange]:
        """Announce changes. Returns those that were announced in time."""
        announced: set[PresenceChange] = set()
        answers: list[asyncio.Future[None]] = []
        for change in changes:
            answer = asyncio.get_running_loop().create_future()
            answers.append(answer)
            self._events.changed(change, partial(_answered, answer, change, announced))
        if answers:
            await asyncio.wait(answers, timeout=TIMEOUT)
        return set(announced)


def _answered(
    answer: asyncio.Future[None], change: PresenceChange, announced: set[PresenceChange], ok: bool
) -> None:
    if ok:
        announced.add(change)
    if not answer.done():
        answer.set_result(None)
