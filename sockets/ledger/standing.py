"""What an entry of the ledger says of one message: never more than is sure. No I/O here."""

from __future__ import annotations

from enum import Enum

from sockets.deliveries import ClientDelivery, Fate, LedgerEntry, MessageFacts, Standing, Why


class Liveness(Enum):
    """Where an entry comes from."""

    HERE = "here"  # its client is connected, and its node has just told
    SILENT = "silent"  # it is connected, and its node does not answer
    AWAY = "away"  # it is not connected


_Judged = tuple[Standing, float | None, str]
"""The standing, its time, and why it is unknown."""


def delivery_to(
    entry: LedgerEntry, facts: MessageFacts, liveness: Liveness, sent_at: float | None = None
) -> ClientDelivery:
    """Return what became of a message for the client of an entry.

    `sent_at`: when its node handed the message to the socket, where that is remembered.
    """
    standing, at, why = _judged(entry, facts, liveness, sent_at)
    return ClientDelivery(
        client_id=entry.client_id,
        standing=standing,
        at=at,
        as_of=entry.at,
        live=liveness is not Liveness.AWAY,
        session=entry.session,
        node=entry.node,
        sent_at=sent_at,
        why=why,
    )


def _judged(
    entry: LedgerEntry, facts: MessageFacts, liveness: Liveness, sent_at: float | None
) -> _Judged:
    offset = facts.offset
    if facts.exclude_client == entry.client_id:
        return Standing.EXCLUDED, None, ""
    if offset is None or facts.fate is Fate.NOT_THERE:
        return Standing.UNKNOWN, None, Why.NOT_THERE
    if entry.epoch != facts.epoch:
        return Standing.UNKNOWN, None, Why.EPOCH
    if sent_at is None and facts.fate in _GONE:
        # Positions went on past it, whether it was sent before or not.
        return Standing.REPLACED_OR_EXPIRED, None, ""
    if entry.acked is not None and entry.acked >= offset:
        return Standing.ACKNOWLEDGED, entry.acked_at, ""
    if sent_at is not None or entry.start < offset <= entry.sent:
        return _sent(entry, offset, sent_at)
    if offset > entry.sent:
        return _not_sent(entry, liveness)
    if entry.recovered and offset <= entry.began:
        return Standing.CLAIMED, entry.opened_at, ""
    return Standing.UNKNOWN, None, Why.BEFORE


_GONE = (Fate.REPLACED, Fate.EXPIRED, Fate.REPLACED_OR_EXPIRED)


def _sent(entry: LedgerEntry, offset: int, sent_at: float | None) -> _Judged:
    if entry.recovered and entry.began < offset <= entry.head:
        return Standing.RECOVERED, entry.opened_at, ""
    return Standing.SENT, entry.at if sent_at is None else sent_at, ""


def _not_sent(entry: LedgerEntry, liveness: Liveness) -> _Judged:
    """Of a message after all that is known to have been sent."""
    if liveness is Liveness.SILENT:
        return Standing.UNKNOWN, None, Why.SILENT
    if liveness is Liveness.AWAY and entry.ended_at is None:
        return Standing.UNKNOWN, None, Why.LOST  # it was connected, and may have got it
    return Standing.NOT_ACKNOWLEDGED, entry.at, ""
