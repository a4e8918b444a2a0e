"""Notifications by HTTP."""

from __future__ import annotations

import msgspec
from django.http import HttpRequest, HttpResponse
from msgspec import Raw
from ninja import Router
from ninja.params.functions import Header, Path, Query

from sockets.api import abroadcast, adelivery_of, anotify_batch, aread_stream, astream_position
from sockets.api.messages import send
from sockets.auth.scopes import NOTIFY, PRESENCE
from sockets.http.schemas import (
    BatchIn,
    BroadcastIn,
    DeliveriesOut,
    DeliveryOut,
    Key,
    MessageIn,
    MessagesOut,
    PositionOut,
    ReceiptOut,
    ReceiptsOut,
)
from sockets.http.security import ApiKey, holds
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
    auth=ApiKey(PRESENCE),
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
    """Return durable messages after a position, oldest first. Ask with `next` for the next page."""
    page = await aread_stream(user, epoch=epoch, offset=offset, limit=limit)
    written = _page(page, complete=epoch in (None, page.epoch) and offset >= page.floor)
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
    """For each live session of the user, oldest first; without `epoch` of the stream as it is."""
    found = await adelivery_of(user, offset, epoch=epoch)
    return DeliveriesOut(sessions=[DeliveryOut.of(one) for one in found])


def _page(page: Page, *, complete: bool) -> bytes:
    """Encode a MessagesOut. Stored messages are passed on as they are, so that a history can always
    be read, whatever an earlier version took."""
    return msgspec.json.encode(
        {
            "epoch": page.epoch,
            "head": page.head,
            "complete": complete,
            "messages": [_stored(entry) for entry in page.entries],
            "next": None if page.complete else page.end,
        }
    )


def _stored(entry: Entry) -> Raw:
    return Raw(b'{"offset":%d,' % entry.offset + entry.body[1:])


def _notification(user: str, message: MessageIn, key: str | None = None) -> Notification:
    """Return what a body asks for. `key`: the header's; the message's own goes before it."""
    given = dict(message)
    given.pop("user", None)
    if message.durable and message.idempotency_key is None:
        given["idempotency_key"] = key
    return Notification(user, **given)
