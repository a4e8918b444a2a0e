"""What one node asks of others: to close sessions, to say what they delivered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sockets.bus import Bus
from sockets.presence.base import Presence
from sockets.types import Outcome, SessionDelivery, SessionInfo

ASK_TIMEOUT = 2.0
"""Seconds that a node gets to answer."""


class Control:
    """Belongs to one event loop. Any method may raise GatewayUnavailable."""

    def __init__(self, *, presence: Presence, bus: Bus) -> None:
        self._presence = presence
        self._bus = bus

    async def disconnect(
        self,
        user: str,
        *,
        client: str | None,
        session: str | None,
        code: int,
        reason: str,
    ) -> int:
        """Close a user's live sessions, all or those named; returns how many were asked to."""
        chosen = [
            info
            for info in await self._presence.sessions_of(user)
            if client in (None, info.client_id) and session in (None, info.id)
        ]
        await self.request_close(chosen, code, reason)
        return len(chosen)

    async def request_close(self, infos: Collection[SessionInfo], code: int, reason: str) -> None:
        """Tell the nodes that hold these sessions to close them."""
        for node, ids in _by_node(infos).items():
            await self._bus.tell(
                node, type="node.close", sessions=ids, code=int(code), reason=reason
            )

    async def delivery_of(self, user: str, epoch: str, offset: int) -> list[SessionDelivery]:
        """What became of one message, for each live session of its user, oldest first."""
        infos = await self._presence.sessions_of(user)
        nodes = _by_node(infos)
        answers = await self._bus.ask(
            nodes,
            timeout=ASK_TIMEOUT,
            type="delivery.ask",
            user=user,
            epoch=epoch,
            offset=offset,
        )
        told = {
            session: SessionDelivery(
                session, client, answer["node"], Outcome(outcome), sent_at, acked_at
            )
            for answer in answers.values()
            for session, client, outcome, sent_at, acked_at in answer["sessions"]
        }
        return [told.get(info.id) or _unanswered(info, epoch, offset) for info in infos]


def _unanswered(info: SessionInfo, epoch: str, offset: int) -> SessionDelivery:
    """Its node is silent: what the lease says of acknowledgements is known all the same."""
    acked_at = info.acked_at if info.has_acked(epoch, offset) else None
    return SessionDelivery(info.id, info.client_id, info.node, Outcome.UNKNOWN, None, acked_at)


def _by_node(infos: Collection[SessionInfo]) -> dict[str, list[str]]:
    nodes: dict[str, list[str]] = defaultdict(list)
    for info in infos:
        nodes[info.node].append(info.id)
    return nodes
