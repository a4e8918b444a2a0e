"""What is known of one message of a stream, and of one that is not there any more."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from msgspec import Struct

from sockets.deliveries import Fate, MessageFacts
from sockets.types import Entry


class _Body(Struct):
    id: str = ""
    event: str = ""


def facts_of(
    entry: Entry,
    *,
    epoch: str,
    at: float,
    collapse_key: str | None,
    expires_at: float | None,
    fate: Fate = Fate.KEPT,
) -> MessageFacts:
    """Return the facts of a message that is there."""
    try:
        body = msgspec.json.decode(entry.body, type=_Body)
    except msgspec.MsgspecError:  # whatever an earlier version took
        body = _Body()
    return MessageFacts(
        epoch=epoch,
        offset=entry.offset,
        fate=fate,
        id=body.id,
        event=body.event,
        at=at,
        size=len(entry.body),
        idempotency_key=entry.idempotency_key or "",
        collapse_key=collapse_key or "",
        exclude_client=entry.exclude_client or "",
        expires_at=expires_at,
    )


def facts_of_missing(
    *, epoch: str, head: int, floor: int, offset: int | None, replaced_by: int | None
) -> MessageFacts:
    """Return the facts of a message of the stream that is not in it; `offset` None: whose place is
    not known."""
    facts = MessageFacts(epoch, offset, Fate.NOT_THERE)
    if offset is None or not 0 < offset <= head:
        return facts
    if replaced_by is not None:
        return replace(facts, fate=Fate.REPLACED, replaced_by=replaced_by)
    gone = Fate.TRIMMED if offset <= floor else Fate.REPLACED_OR_EXPIRED
    return replace(facts, fate=gone)
