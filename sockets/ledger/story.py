"""The story of one message, from what is known of it and of its user's clients. No I/O here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf

from sockets.deliveries import (
    ClientDelivery,
    Fate,
    LedgerEntry,
    MessageFacts,
    Standing,
    Step,
    StepCode,
)
from sockets.types import UserPresence

Told = tuple[ClientDelivery, LedgerEntry | None]
"""What became of the message for a client, and its entry; None: it has none."""


def story_of(
    facts: MessageFacts,
    *,
    now: str,
    floor: int,
    head: int,
    told: Sequence[Told],
    user: UserPresence,
) -> list[Step]:
    """Return what happened, oldest first; what has no time comes last.

    `now`, `floor`, `head`: the stream's epoch as it is, and where it begins and ends.
    """
    steps = [*_of_message(facts, now, floor, head), *_of_user(user)]
    for delivery, entry in told:
        steps += _of_client(delivery, entry)
    if not told:
        steps.append(Step(StepCode.NOBODY))
    return sorted(steps, key=lambda step: inf if step.at is None else step.at)


def _of_message(facts: MessageFacts, now: str, floor: int, head: int) -> Iterator[Step]:
    if facts.at is not None:
        values = {"offset": facts.offset, "epoch": facts.epoch, "size": facts.size}
        yield Step(StepCode.APPENDED, facts.at, values=values | {"event": facts.event})
    match facts.fate:
        case Fate.NOT_THERE:
            yield Step(StepCode.NOT_FOUND, values={"head": head})
        case Fate.OTHER_EPOCH:
            yield Step(StepCode.OTHER_EPOCH, values={"epoch": facts.epoch, "now": now})
        case Fate.TRIMMED:
            yield Step(StepCode.TRIMMED, values={"floor": floor})
        case Fate.REPLACED:
            yield Step(StepCode.REPLACED, values={"by": facts.replaced_by})
        case Fate.EXPIRED:
            yield Step(StepCode.EXPIRED, facts.expires_at)
        case Fate.REPLACED_OR_EXPIRED:
            yield Step(StepCode.REPLACED_OR_EXPIRED)


def _of_user(user: UserPresence) -> Iterator[Step]:
    if user.sessions:
        yield Step(StepCode.ONLINE, values={"sessions": len(user.sessions)})
    else:
        yield Step(StepCode.AWAY, user.last_seen, values={"state": user.state.value})


_CODES = {
    Standing.ACKNOWLEDGED: StepCode.ACKNOWLEDGED,
    Standing.SENT: StepCode.SENT,
    Standing.RECOVERED: StepCode.RECOVERED,
    Standing.NOT_ACKNOWLEDGED: StepCode.NOT_ACKNOWLEDGED,
    Standing.CLAIMED: StepCode.CLAIMED,
    Standing.EXCLUDED: StepCode.EXCLUDED,
    Standing.UNKNOWN: StepCode.UNKNOWN,
}
"""Of a message that was replaced or expired the story says so once."""


def _of_client(delivery: ClientDelivery, entry: LedgerEntry | None) -> Iterable[Step]:
    def step(what: StepCode, at: float | None, /, **values: str | int | float | None) -> Step:
        return Step(what, at, delivery.client_id, delivery.session, delivery.node, values)

    if entry is None:
        sent: dict[str, int | None] = {}
    else:
        sent = {"sent": entry.sent, "acked": entry.acked}
        yield step(
            StepCode.CONNECTED,
            entry.opened_at,
            recovered=entry.recovered,
            began=entry.began,
            head=entry.head,
        )
    if (code := _CODES.get(delivery.standing)) is not None:
        more = {"why": str(delivery.why)} if delivery.why else {}
        yield step(code, delivery.at, **sent, **more)
    if entry is not None and entry.ended_at is not None:
        yield step(StepCode.ENDED, entry.ended_at, code=entry.code, reason=entry.reason)
    elif entry is not None and not delivery.live:
        yield step(StepCode.LOST, entry.at)
