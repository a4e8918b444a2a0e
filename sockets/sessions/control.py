"""What one node asks of others: to close sessions, to report what they delivered, to drain."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import msgspec

from sockets import __version__
from sockets.base.together import Together
from sockets.cluster.bus import Bus
from sockets.cluster.registry import Nodes
from sockets.codes import CloseCode
from sockets.deliveries import LedgerEntry
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Message
from sockets.presence.base import Presence
from sockets.presence.revocation import REVOKED
from sockets.types import Disconnected, Kind, Outcome, SessionDelivery, SessionInfo, SessionPlace

logger = logging.getLogger(__name__)
T = TypeVar("T")

ASK_TIMEOUT = 2.0
"""Seconds that a node gets to answer what it knows already."""

ROWS_TIMEOUT = 20.0
"""Seconds that a node gets to remove the rows of a user's sessions."""

MAX_ASKED = 2
"""Nodes that are asked for that, one after the other."""

CLOSE_MARGIN = 2.0
"""Seconds beyond CLOSE_TIMEOUT that a node gets to answer which sockets are closed."""


CLOSED_AT_ONCE = 100
"""Requests to close that go out together."""

_ToClose: TypeAlias = tuple[list[str], int, str]


class NotClosed(msgspec.Struct):
    """What a node answers that was asked to close sessions: those that are open still."""

    open: list[str]


class Rows(msgspec.Struct):
    """What a node answers that was asked to remove rows: how many, or why not."""

    rows: int
    problem: str


class Deliveries(msgspec.Struct):
    """What a node answers that was asked about a message. `sessions`: for each its id, its client,
    what became of it, and when it was sent and acknowledged. `entries`: how each stands; a node of
    the version before tells none."""

    sessions: list[tuple[str, str, Outcome, float | None, float | None]]
    entries: list[LedgerEntry] = []


class Control:
    """Belongs to one event loop. Any method may raise GatewayUnavailable.

    `close_timeout`: seconds that a peer gets for its half of the closing handshake.
    """

    def __init__(self, *, presence: Presence, nodes: Nodes, bus: Bus, close_timeout: float) -> None:
        self._presence = presence
        self._nodes = nodes
        self._bus = bus
        self._close_timeout = close_timeout
        self._closing: dict[str, Together[_ToClose]] = {}  # by the node that is asked now

    async def disconnect(
        self,
        user: str,
        *,
        client: str | None,
        session: str | None,
        keep: Iterable[str],
        code: int,
        reason: str,
    ) -> Disconnected:
        """End a user's sessions, all or those named; returns when their sockets are closed.

        State first: from now on they are out of presence, and fenced where the message is lost.
        """
        effects = await self._presence.end(
            user, code, reason, client=client, session=session, keep=keep
        )
        return await self.close(effects.ended, code, reason)

    async def block(self, user: str, until: float | None, code: int, reason: str) -> Disconnected:
        """Block a user until a moment by the store's clock, or for ever; close their sessions."""
        await self._presence.block(user, until)
        return await self.disconnect(
            user, client=None, session=None, keep=(), code=code, reason=reason
        )

    async def revoke(self, user: str, name: str, before: float | None) -> Disconnected:
        """Revoke what a user had proved before, and close the sessions that were opened with it.

        `name` and `before` as of `Presence.revoke`.
        """
        effects = await self._presence.revoke(user, name, before)
        return await self.close(effects.ended, CloseCode.REVOKED, REVOKED)

    async def disconnect_sessions(
        self, ids: Collection[str], code: int, reason: str
    ) -> dict[str, Disconnected]:
        """Close sessions of clients or workers wherever they are; those that are nowhere are left
        out of the answer. Raises GatewayUnavailable."""
        nodes = {info.name for info in await self._nodes.all()}
        answers = await self._bus.ask(
            nodes,
            timeout=self._close_timeout + CLOSE_MARGIN,
            type="node.end",
            sessions={node: list(ids) for node in nodes},
            code=int(code),
            reason=reason,
        )
        found: dict[str, Disconnected] = {}
        for answer in answers.values():
            found |= {id: Disconnected(1) for id in answer["closed"]}
            found |= {id: Disconnected(0, 1) for id in answer["open"]}
        return found

    async def close(self, infos: Collection[SessionInfo], code: int, reason: str) -> Disconnected:
        """Close sessions that are out of presence, and wait until their nodes answer that they are
        closed."""
        sessions = _by_node(infos)
        if not sessions:
            return Disconnected(0)
        found = await self._bus.ask(
            sessions,
            timeout=self._close_timeout + CLOSE_MARGIN,
            type="node.end",
            sessions=dict(sessions),
            code=int(code),
            reason=reason,
        )
        answers = _read(found, NotClosed)
        unconfirmed = sum(
            len(answers[node].open) if node in answers else len(ids)
            for node, ids in sessions.items()
        )
        return Disconnected(sum(map(len, sessions.values())) - unconfirmed, unconfirmed)

    async def request_close(self, infos: Collection[SessionInfo], code: int, reason: str) -> None:
        """Ask the nodes that hold these sessions to close them; nobody waits until they have.

        All are asked, also where one of them cannot be, whose error is raised then. A crowd that
        comes from another node has it asked with a few messages.
        """
        asked = [
            self._ask_to_close(node, (ids, int(code), reason))
            for node, ids in _by_node(infos).items()
        ]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def _ask_to_close(self, node: str, what: _ToClose) -> None:
        asked = self._closing.get(node)
        if asked is None:
            self._forget_idle()  # whose callers were cancelled
            step = partial(self._tell_to_close, node)
            # Of each node its own: one that cannot be reached keeps no other waiting.
            asked = self._closing[node] = Together[_ToClose](step, CLOSED_AT_ONCE)
        try:
            await asked.do(what)
        finally:
            if asked.idle and self._closing.get(node) is asked:
                del self._closing[node]

    def _forget_idle(self) -> None:
        self._closing = {node: one for node, one in self._closing.items() if not one.idle}

    async def _tell_to_close(self, node: str, asked: Sequence[_ToClose]) -> None:
        found: dict[tuple[int, str], list[str]] = defaultdict(list)
        for ids, code, reason in asked:
            found[code, reason] += ids
        for (code, reason), ids in found.items():
            await self._bus.tell(node, type="node.close", sessions=ids, code=code, reason=reason)

    async def sessions(self, node: str | None, limit: int) -> list[SessionInfo]:
        """Return at most `limit` live sessions of one node or all, oldest first."""
        found: dict[str, SessionInfo] = {}
        for info in await self._nodes.all():
            if node not in (None, info.name):
                continue
            for kind in Kind:
                users = await self._nodes.users_of(info.id, kind, limit)
                answer = await self._presence.look_at(users, kind)
                for one in answer.users.values():
                    found |= {s.id: s for s in one.sessions if node in (None, s.node)}
        return _by_age(found)[:limit]

    async def page_of_sessions(
        self, node: str | None, at: SessionPlace, limit: int
    ) -> tuple[list[SessionInfo], SessionPlace | None]:
        """Return about `limit` users' sessions after a place, oldest first, and the next place.

        The next place is None at the end. Each session that lasts is in one of the pages, or in
        two.
        """
        found: dict[str, SessionInfo] = {}
        taken = 0
        stops = [
            (info, kind)
            for info in await self._nodes.all()
            for kind in Kind
            if node in (None, info.name) and (info.name, kind.value) >= (at.node, at.kind)
        ]
        for number, (info, kind) in enumerate(stops):
            place = at.place if (info.id, kind.value) == (at.life, at.kind) else ""
            while True:
                users, place = await self._nodes.users_after(info.id, kind, place, limit)
                answer = await self._presence.look_at(users, kind)
                for one in answer.users.values():
                    found |= {s.id: s for s in one.sessions if s.node == info.name}
                taken += len(users)
                if not place:
                    break
                if taken >= limit:
                    return _by_age(found), SessionPlace(info.name, kind.value, info.id, place)
            if taken >= limit and number + 1 < len(stops):
                info, kind = stops[number + 1]
                return _by_age(found), SessionPlace(info.name, kind.value, info.id)
        return _by_age(found), None

    async def drain(self, node: str) -> bool:
        """Ask a node to send its clients away and end. Returns whether it has answered."""
        if node not in {info.name for info in await self._nodes.all()}:
            return False
        return bool(await self._bus.ask([node], timeout=ASK_TIMEOUT, type="node.drain"))

    async def remove_rows(self, user: str, before: float) -> int:
        """Have a node remove the rows of a user's sessions that connected until then.

        Returns how many those were. Nodes have a database; whoever only calls may have none.
        """
        # A node of another version may not know how.
        living = sorted(
            await self._nodes.all(), key=lambda info: (info.version != __version__, info.name)
        )
        for info in living[:MAX_ASKED]:
            found = await self._bus.ask(
                [info.name], timeout=ROWS_TIMEOUT, type="node.rows", user=user, before=before
            )
            if (answer := _read(found, Rows).get(info.name)) is not None:
                if answer.problem:
                    raise GatewayUnavailable(answer.problem, outcome="unknown")
                return answer.rows
        raise GatewayUnavailable(
            "no node has removed the rows of sessions: repeat it", outcome="unknown"
        )

    async def delivery_of(self, user: str, epoch: str, offset: int) -> list[SessionDelivery]:
        """Return what became of one message, for each live session of its user, oldest first."""
        infos = await self._presence.sessions_of(user)
        return self.deliveries(
            infos, await self.ask_about(user, infos, epoch, offset), epoch, offset
        )

    async def ask_about(
        self, user: str, infos: Collection[SessionInfo], epoch: str, offset: int
    ) -> dict[str, Deliveries]:
        """Ask the nodes of these sessions what became of one message; those that are silent are
        left out of the answer."""
        found = await self._bus.ask(
            _by_node(infos),
            timeout=ASK_TIMEOUT,
            type="delivery.ask",
            user=user,
            epoch=epoch,
            offset=offset,
        )
        return _read(found, Deliveries)

    @staticmethod
    def deliveries(
        infos: Collection[SessionInfo], answers: Mapping[str, Deliveries], epoch: str, offset: int
    ) -> list[SessionDelivery]:
        """Return what became of one message for each of these sessions, by the nodes' answers."""
        known = {
            session: SessionDelivery(session, client, node, outcome, sent_at, acked_at)
            for node, answer in answers.items()
            for session, client, outcome, sent_at, acked_at in answer.sessions
        }
        return [known.get(info.id) or _unanswered(info, epoch, offset) for info in infos]


def _read(answers: Mapping[str, Message], kind: type[T]) -> dict[str, T]:
    """Return what nodes have answered. An answer that cannot be read, of another version say,
    counts as none."""
    found: dict[str, T] = {}
    for node, answer in answers.items():
        try:
            found[node] = msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            logger.warning("node %s gave an answer of another form: %s", node, error)
    return found


def _by_age(found: Mapping[str, SessionInfo]) -> list[SessionInfo]:
    return sorted(found.values(), key=lambda info: (info.connected_at, info.id))


def _unanswered(info: SessionInfo, epoch: str, offset: int) -> SessionDelivery:
    """The delivery at a node that did not answer: acknowledgements are known by the lease."""
    acked_at = info.acked_at if info.has_acked(epoch, offset) else None
    return SessionDelivery(info.id, info.client_id, info.node, Outcome.UNKNOWN, None, acked_at)


def _by_node(infos: Collection[SessionInfo]) -> dict[str, list[str]]:
    nodes: dict[str, list[str]] = defaultdict(list)
    for info in infos:
        nodes[info.node].append(info.id)
    return nodes
