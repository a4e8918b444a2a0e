"""What is known of one message of a stream, and of one that is not there any more."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from sockets.deliveries import Fate, MessageFacts
from sockets.types import Entry

_TEXT: Final = rb'"(?:[^"\\]|\\.)*"'
_START: Final = re.compile(rb'\{"id":(%s),"event":(%s),"data":' % (_TEXT, _TEXT))
_TIME: Final = b',"time":'


class Header(NamedTuple):
    """Members of a message's body, each as JSON."""

    id: bytes
    event: bytes
    time: bytes


def header_of(body: bytes) -> Header:
    """Return what a body has beside its data, which is not looked at: an earlier version took what
    nobody can read. Members of a body of another form are empty."""
    start, end = _START.match(body), body.rfind(_TIME)
    if start is None or end < start.end():
        return Header(b'""', b'""', b"0")
    return Header(start[1], start[2], body[end + len(_TIME) : -1])


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
    header = header_of(entry.body)
    return MessageFacts(
        epoch=epoch,
        offset=entry.offset,
        fate=fate,
        id=msgspec.json.decode(header.id),
        event=msgspec.json.decode(header.event),
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
