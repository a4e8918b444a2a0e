"""A worker's notifications, from the call to the gateway's receipt, whatever happens to the line.

Bounded: `most` wait at a time. A durable one has an idempotency key, so it is sent again after a
return; but no longer than the gateway knows the key, or it could come twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from msgspec import Raw

from gateway_client import errors
from gateway_client.exchange import RECEIPTS
from gateway_client.frames import LATER, Frame, encode
from gateway_client.models import Receipt, UserId
from gateway_client.wire import to_json, user_id, without_none

AGAIN = 1.0
"""Seconds until something is sent again that the gateway could not take just now."""


@dataclass
class _Note:
    text: str
    durable: bool
    receipt: asyncio.Future[Receipt]
    expiry: asyncio.TimerHandle
    due: bool = True
    sent: bool = False


class Notes:
    """`wake` is called when there is something to send. Belongs to one event loop."""

    def __init__(self, most: int, wake: Callable[[], None], *, lifetime: float = RECEIPTS) -> None:
        self._most = most
        self._wake = wake
        self._lifetime = lifetime
        self._numbers = count()
        self._waiting: dict[str, _Note] = {}
        self.online = False
        self.limit: int | None = None
        """Bytes that a message may have; None: no gateway has said so yet."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, user: UserId, event: str, data: Any = None, *, durable: bool = True, **options: Any
    ) -> asyncio.Future[Receipt]:
        """Take one in; the future has its receipt, or a GatewayError. Raises InvalidRequest,
        TooLarge, Unavailable, BufferFull."""
        written = to_json(data)
        if self.limit is not None and len(written) > self.limit:
            raise errors.TooLarge(f"data has {len(written)} bytes, the gateway takes {self.limit}")
        if not durable and not self.online:
            raise errors.Unavailable("not connected, and an ephemeral message is for now or never")
        if len(self._waiting) >= self._most:
            raise errors.BufferFull(f"{self._most} notifications wait for the gateway already")
        if durable:
            options["idempotency_key"] = options.get("idempotency_key") or secrets.token_urlsafe(16)
        ref = f"n:{next(self._numbers)}"
        members = without_none(**options) | ({} if durable else {"durable": False})
        text = encode(
            "notify", ref=ref, user=user_id(user), event=event, data=Raw(written), **members
        )
        return self._keep(ref, text, durable)

    def _keep(self, ref: str, text: str, durable: bool) -> asyncio.Future[Receipt]:
        loop = asyncio.get_running_loop()
        receipt: asyncio.Future[Receipt] = loop.create_future()
        expiry = loop.call_later(self._lifetime, self._expire, ref)
        self._waiting[ref] = _Note(text, durable, receipt, expiry)
        receipt.add_done_callback(lambda _: self._forget(ref))
        self._wake()
        return receipt

    def due(self) -> Iterator[str]:
        """Return what is to be sent now; it counts as sent with that."""
        for note in list(self._waiting.values()):
            if note.due:
                note.due, note.sent = False, True
                yield note.text

    def returned(self, limit: int | None) -> None:
        """There is a line again: all is sent anew."""
        self.online, self.limit = True, limit
        for note in self._waiting.values():
            note.due = True

    def disconnected(self) -> None:
        """The line is gone. Whether an ephemeral message that was sent arrived, nobody knows."""
        self.online = False
        for note in list(self._waiting.values()):
            if not note.durable:
                self._fail(note, "the line broke before the receipt came")

    def close(self) -> None:
        """The worker has ended: nobody waits for ever."""
        for note in list(self._waiting.values()):
            self._fail(note, "the worker ended before the receipt came")

    def replied(self, frame: Frame) -> None:
        """Take in the gateway's answer."""
        note = self._waiting.get(str(frame.ref))
        if note is None:
            return
        if frame.ok:
            _settle(note, Receipt(frame.id or "", frame.epoch, frame.offset, frame.duplicate))
        elif frame.refusal in LATER:
            asyncio.get_running_loop().call_later(AGAIN, self._again, note)
        else:
            _settle(note, _error_of(frame))

    def _again(self, note: _Note) -> None:
        note.due = True
        self._wake()

    def _expire(self, ref: str) -> None:
        if (note := self._waiting.get(ref)) is not None:
            self._fail(note, f"no receipt came in {self._lifetime:g} s")

    def _fail(self, note: _Note, text: str) -> None:
        _settle(note, errors.Unavailable(text, outcome="unknown" if note.sent else "nothing"))

    def _forget(self, ref: str) -> None:
        """Whoever waited has an answer, or has given up: then it is not sent any more."""
        self._waiting.pop(ref).expiry.cancel()


def _settle(note: _Note, outcome: Receipt | errors.GatewayError) -> None:
    if note.receipt.done():
        return
    if isinstance(outcome, Receipt):
        note.receipt.set_result(outcome)
    else:
        note.receipt.set_exception(outcome)


_REFUSALS = {
    "too_large": errors.TooLarge,
    "bad_message": errors.InvalidRequest,
    "forbidden": errors.Forbidden,
}


def _error_of(frame: Frame) -> errors.GatewayError:
    kind = _REFUSALS.get(frame.refusal, errors.Unavailable)
    return kind(frame.error.message if frame.error else "refused", code=frame.refusal)
