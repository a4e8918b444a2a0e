"""What became of a message: asked of the stream, the ledger, presence and the nodes together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sockets.deliveries import (
    ClientDelivery,
    Explanation,
    LedgerEntry,
    Standing,
    Why,
)
from sockets.ledger.base import Ledger, latest_first, merged
from sockets.ledger.standing import Liveness, delivery_to
from sockets.ledger.story import Told, story_of
from sockets.presence.base import Presence
from sockets.sessions.control import Control, Deliveries
from sockets.streams.base import Found, Streams
from sockets.types import Outcome, SessionDelivery, SessionInfo


@dataclass(frozen=True, slots=True)
class Which:
    """A message of a user, by one of its names. `epoch`: of the offset; None: the stream's as it
    is."""

    offset: int | None = None
    epoch: str | None = None
    id: str = ""
    key: str = ""


class Inquiry:
    """Belongs to one event loop. Any method may raise GatewayUnavailable.

    `now`: the store's time.
    """

    def __init__(
        self,
        *,
        presence: Presence,
        streams: Streams,
        ledger: Ledger,
        control: Control,
        now: Callable[[], Awaitable[float]],
    ) -> None:
        self._presence = presence
        self._streams = streams
        self._ledger = ledger
        self._control = control
        self._now = now

    async def ledger_of(self, user: str) -> list[LedgerEntry]:
        """Return the entries of a user, the last that was heard of first."""
        live = {info.id for info in (await self._presence.look(user)).sessions}
        return [
            replace(entry, live=entry.session in live) for entry in await self._ledger.read(user)
        ]

    async def delivery_of(self, user: str, which: Which) -> list[SessionDelivery]:
        """Return what became of a message: for each live session, oldest first, and then for the
        newest session of each client that is away. [] where there is no such message."""
        found = await self._find(user, which)
        facts = found.facts
        if facts.offset is None:
            return []
        infos = await self._presence.sessions_of(user)
        answers = await self._control.ask_about(user, infos, facts.epoch, facts.offset)
        here = self._control.deliveries(infos, answers, facts.epoch, facts.offset)
        told = _told(found, infos, answers, await self._ledger.read(user))
        return [*here, *(_away(one) for one, _ in told if not one.live)]

    async def explain(self, user: str, which: Which) -> Explanation:
        """Return what became of a message for each client of its user, and how that came about."""
        found = await self._find(user, which)
        presence = await self._presence.look(user)
        infos, facts = presence.sessions, found.facts
        answers = await self._control.ask_about(user, infos, facts.epoch, facts.offset or 0)
        told = _told(found, infos, answers, await self._ledger.read(user))
        return Explanation(
            user=user,
            message=facts,
            clients=[one for one, _ in told],
            steps=story_of(
                facts,
                now=found.epoch,
                floor=found.floor,
                head=found.head,
                told=told,
                user=presence,
            ),
            silent=sorted({info.node for info in infos} - answers.keys()),
            at=await self._now(),
        )

    async def _find(self, user: str, which: Which) -> Found:
        return await self._streams.find(
            user, offset=which.offset, epoch=which.epoch, id=which.id, key=which.key
        )


def _told(
    found: Found,
    infos: Collection[SessionInfo],
    answers: Mapping[str, Deliveries],
    known: Iterable[LedgerEntry],
) -> list[Told]:
    """Return what became of a message for each client; those who are connected first."""
    here = {entry.session: entry for one in answers.values() for entry in one.entries}
    sent = {row[0]: row for one in answers.values() for row in one.sessions}
    by_client = {entry.client_id: entry for entry in known}
    told: list[Told] = []
    for info in sorted(infos, key=lambda info: (info.connected_at, info.id)):
        kept = by_client.pop(info.client_id, None)
        entry = merged(kept, here[info.id]) if info.id in here else kept
        silent = info.node not in answers
        told.append((_connected(found, info, entry, sent.get(info.id), silent=silent), entry))
    away = latest_first(by_client.values())
    told += [(delivery_to(entry, found.facts, Liveness.AWAY), entry) for entry in away]
    return told


def _connected(
    found: Found,
    info: SessionInfo,
    entry: LedgerEntry | None,
    row: tuple[str, str, Outcome, float | None, float | None] | None,
    *,
    silent: bool,
) -> ClientDelivery:
    """Return what became of a message for a client that is connected. `row`: what its node says of
    the session; `silent`: whether the node did not answer."""
    outcome, sent_at = (Outcome.UNKNOWN, None) if row is None else (row[2], row[3])
    if outcome is Outcome.EXCLUDED:
        return _by_node(info, Standing.EXCLUDED)
    if entry is not None:
        liveness = Liveness.SILENT if silent else Liveness.HERE
        return delivery_to(entry, found.facts, liveness, sent_at)
    acked = found.facts.offset is not None and info.has_acked(found.facts.epoch, found.facts.offset)
    if acked:
        return _by_node(info, Standing.ACKNOWLEDGED, info.acked_at)
    if sent_at is not None:
        return _by_node(info, Standing.SENT, sent_at)
    return replace(_by_node(info, Standing.UNKNOWN), why=Why.SILENT)


def _by_node(info: SessionInfo, standing: Standing, at: float | None = None) -> ClientDelivery:
    return ClientDelivery(
        info.client_id, standing, at, info.seen_at, live=True, session=info.id, node=info.node
    )


_OUTCOMES = {
    Standing.ACKNOWLEDGED: Outcome.SENT,
    Standing.SENT: Outcome.SENT,
    Standing.RECOVERED: Outcome.SENT,
    Standing.NOT_ACKNOWLEDGED: Outcome.PENDING,
    Standing.EXCLUDED: Outcome.EXCLUDED,
}


def _away(delivery: ClientDelivery) -> SessionDelivery:
    outcome = _OUTCOMES.get(delivery.standing, Outcome.UNKNOWN)
    acked = delivery.standing is Standing.ACKNOWLEDGED
    return SessionDelivery(
        session=delivery.session,
        client_id=delivery.client_id,
        node=delivery.node,
        outcome=outcome,
        sent_at=delivery.at if outcome is Outcome.SENT else None,
        acked_at=delivery.at if acked else None,
        live=False,
    )
