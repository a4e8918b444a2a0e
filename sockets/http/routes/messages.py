"""Notifications by HTTP."""

from __future__ import annotations

import msgspec
from django.http import HttpRequest, HttpResponse
from msgspec import Raw
from ninja import Router
from ninja.params.functions import Header, Path, Query

from sockets.api import (
    abroadcast,
    adelivery_of,
    aexplain_delivery,
    aledger_of,
    anotify_batch,
    aread_stream,
    astream_position,
)
from sockets.api.messages import send
from sockets.auth.scopes import MESSAGES, NOTIFY, PRESENCE
from sockets.base.ids import parse_ulid
from sockets.deliveries import Explanation, Fate
from sockets.http.schemas import (
    BatchIn,
    BroadcastIn,
    DeliveriesOut,
    Key,
    LedgerEntryOut,
    LedgerOut,
    MessageIn,
    MessagesOut,
    PositionOut,
    ReceiptOut,
    ReceiptsOut,
)
from sockets.http.security import ApiKey, holds
from sockets.streams.facts import header_of
from sockets.types import Entry, Notification, Page

router = Router(tags=["Messages"])

EPOCH = Query(
    None,
    max_length=64,
    description="The stream's epoch; leave it out to read the stream as it is now.",
)
OFFSET = Query(
    0,
    ge=0,
    le=2**53,
    description="Return messages after this offset; 0 returns everything that is kept.",
)
MESSAGE = Query(
    ..., description="The message's id, as its receipt has it, or the idempotency key it had."
)
PLACE = Path(..., ge=1, le=2**53, description="The offset of the message's receipt.")
IdempotencyKey = Header(
    None,
    alias="Idempotency-Key",
    description="A repetition within 5 minutes gets the first receipt.",
)


@router.post(
    "/users/{gateway_segment:user}/messages",
    response=ReceiptOut,
    auth=ApiKey(NOTIFY),
    summary="Notify every session of a user",
    operation_id="notify_user",
)
async def notify(
    request: HttpRequest, user: str, message: MessageIn, key: Key | None = IdempotencyKey
) -> ReceiptOut:
    """A durable message, which is the default, is in the user's stream when this returns."""
    receipt = await send(_notification(user, message, key))
    return ReceiptOut.of(receipt, with_reach=holds(request, PRESENCE))


@router.post(
    "/messages/batch",
    response=ReceiptsOut,
    auth=ApiKey(NOTIFY),
    summary="Send many notifications, each to its user",
    operation_id="notify_batch",
)
async def notify_batch(
    request: HttpRequest, batch: BatchIn, key: Key | None = IdempotencyKey
) -> ReceiptsOut:
    """At most 1,000 messages; none is sent if one of them is wrong. With `Idempotency-Key` the
    whole batch may be repeated."""
    many = [_notification(one.user, one) for one in batch.messages]
    receipts = await anotify_batch(many, idempotency_key=key)
    seen = holds(request, PRESENCE)
    return ReceiptsOut(receipts=[ReceiptOut.of(one, with_reach=seen) for one in receipts])


@router.post(
    "/broadcast",
    response=ReceiptOut,
    auth=ApiKey(NOTIFY),
    summary="Notify every connected client",
    operation_id="broadcast",
)
async def broadcast(request: HttpRequest, message: BroadcastIn) -> ReceiptOut:
    """Clients that are away never get it. For durable messages to many users send a batch."""
    receipt = await abroadcast(**dict(message))
    return ReceiptOut.of(receipt, with_reach=holds(request, PRESENCE))


@router.get(
    "/users/{gateway_segment:user}/messages",
    response=MessagesOut,  # what _page writes
    auth=ApiKey(PRESENCE, MESSAGES),
    summary="Read a user's recent messages",
    operation_id="read_messages",
)
async def read(
    request: HttpRequest,
    user: str,
    epoch: str | None = EPOCH,
    offset: int = OFFSET,
    limit: int = Query(100, ge=1, le=1000),
) -> HttpResponse:
    """Return durable messages after a position, oldest first. Ask with `next` for the next page.

    `data` needs the scope `messages`: with `presence` alone it is left out.
    """
    page = await aread_stream(user, epoch=epoch, offset=offset, limit=limit)
    complete = epoch in (None, page.epoch) and offset >= page.floor
    written = _page(page, complete=complete, with_data=holds(request, MESSAGES))
    return HttpResponse(
        written, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


@router.get(
    "/users/{gateway_segment:user}/position",
    response=PositionOut,
    auth=ApiKey(PRESENCE),
    summary="The position of a user's stream",
    operation_id="stream_position",
)
async def position(request: HttpRequest, user: str) -> PositionOut:
    """Take it before you load the data of a page and connect from it: nothing falls between."""
    found = await astream_position(user)
    return PositionOut(epoch=found.epoch, offset=found.offset)


@router.get(
    "/users/{gateway_segment:user}/messages/{offset}/delivery",
    response=DeliveriesOut,
    auth=ApiKey(PRESENCE),
    summary="What became of a durable message",
    operation_id="delivery_of",
)
async def delivery(
    request: HttpRequest, user: str, offset: int = PLACE, epoch: str | None = EPOCH
) -> DeliveriesOut:
    """For each live session of the user, for each client, connected or away, and how that came
    about; without `epoch` of the stream as it is."""
    explained = await aexplain_delivery(user, offset, epoch=epoch)
    return await _deliveries(user, explained)


@router.get(
    "/users/{gateway_segment:user}/delivery",
    response=DeliveriesOut,
    auth=ApiKey(PRESENCE),
    summary="What became of a durable message, by its id or idempotency key",
    operation_id="find_delivery",
)
async def find_delivery(request: HttpRequest, user: str, message: Key = MESSAGE) -> DeliveriesOut:
    """As by its offset; `message.fate` is `not_there` where nothing that is kept has this id or
    key."""
    explained = None
    if parse_ulid(message):
        explained = await aexplain_delivery(user, id=parse_ulid(message))
    if explained is None or explained.message.fate is Fate.NOT_THERE:
        explained = await aexplain_delivery(user, idempotency_key=message)
    return await _deliveries(user, explained)


async def _deliveries(user: str, explained: Explanation) -> DeliveriesOut:
    at = explained.message
    found = [] if at.offset is None else await adelivery_of(user, at.offset, epoch=at.epoch)
    return DeliveriesOut.of([one for one in found if one.live], explained)


@router.get(
    "/users/{gateway_segment:user}/ledger",
    response=LedgerOut,
    auth=ApiKey(PRESENCE),
    summary="How far each client of a user has come",
    operation_id="ledger_of",
)
async def ledger(request: HttpRequest, user: str) -> LedgerOut:
    """Clients that gave themselves an id, of the last 30 days, connected or away."""
    return LedgerOut(clients=[LedgerEntryOut.of(one) for one in await aledger_of(user)])


def _page(page: Page, *, complete: bool, with_data: bool) -> bytes:
    """Encode a MessagesOut. Stored messages are passed on as they are, so that a history can always
    be read, whatever an earlier version took."""
    return msgspec.json.encode(
        {
            "epoch": page.epoch,
            "head": page.head,
            "complete": complete,
            "messages": [_stored(entry, with_data=with_data) for entry in page.entries],
            "next": None if page.complete else page.end,
        }
    )


def _stored(entry: Entry, *, with_data: bool) -> Raw:
    start = b'{"offset":%d,"size":%d,' % (entry.offset, len(entry.body))
    if with_data:
        return Raw(start + entry.body[1:])
    return Raw(start + b'"id":%s,"event":%s,"time":%s}' % header_of(entry.body))


def _notification(user: str, message: MessageIn, key: str | None = None) -> Notification:
    """Return what a body asks for. `key`: the header's; the message's own goes before it."""
    given = dict(message)
    given.pop("user", None)
    if message.durable and message.idempotency_key is None:
        given["idempotency_key"] = key
    return Notification(user, **given)
