"""Webhooks: check that a request is the gateway's, and read its events.

Gateway-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256(secret, "<t>." + body)>
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from gateway_client.errors import BadWebhook

_MAX_HEADER = 1024
_TIME = re.compile(r"[0-9]{1,12}\Z")


class EventSession(Struct, frozen=True):
    """The session that an event is about."""

    id: str
    kind: str = ""
    client_id: str = ""
    node: str = ""
    connected_at: float = 0.0
    address: str = ""
    agent: str = ""


class WebhookEvent(Struct, frozen=True):
    """One event. Keep the `id`s that you have seen, and skip those: it may come again.

    `type`: "user_online", "user_offline", "session_opened", "session_closed", or one of a newer
    gateway: skip what you do not know. `generation`, of the first two: one that is smaller than one
    you have seen is old news. `session`, of the others; `code`, `reason` and `cause`: of the close.
    """

    id: str
    type: str
    user: str
    at: float
    generation: int | None = None
    session: EventSession | None = None
    code: int | None = None
    reason: str = ""
    cause: str = ""


class Webhook(Struct, frozen=True):
    """A batch of events, oldest first. `delivery`: the same when the batch is sent again."""

    delivery: str
    events: tuple[WebhookEvent, ...]


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Iterable[str],
    *,
    tolerance: float = 300.0,
    now: float | None = None,
) -> Webhook:
    """Return the events of a request that is the gateway's. Raises BadWebhook: answer it 403.

    `headers`: those of Django, FastAPI or Flask, or any mapping. `body`: the bytes as they came,
    before any JSON is parsed. `secrets`: WEBHOOK_SECRET, or while it changes the old and the new
    one. `tolerance`: seconds that the signature may be old, or ahead of this clock. `now`: for
    tests, seconds since the epoch.
    """
    known = [secrets] if isinstance(secrets, str) else list(secrets)
    if not known or not all(known):
        raise ValueError("secrets: WEBHOOK_SECRET is empty, and whoever knows that could sign")
    given = {name.lower(): value for name, value in headers.items()}
    stamp, signatures = _members(given.get("gateway-signature", "")[:_MAX_HEADER])
    if abs((time.time() if now is None else now) - int(stamp)) > tolerance:
        raise BadWebhook(f"signed more than {tolerance:g} s ago, or ahead of this clock")
    if not _fits(f"{stamp}.".encode() + body, known, signatures):
        raise BadWebhook("the signature is of another secret, or of another body")
    return _read(given.get("gateway-delivery", ""), body)


def _members(header: str) -> tuple[str, list[bytes]]:
    """Return the time and the signatures of a header. Raises BadWebhook."""
    members = [item.strip().partition("=") for item in header.split(",")]
    times = [value for name, _, value in members if name == "t"]
    if len(times) != 1 or _TIME.match(times[0]) is None:
        raise BadWebhook("there is no Gateway-Signature, or none that can be read")
    return times[0], [value.encode(errors="replace") for name, _, value in members if name == "v1"]


def _fits(signed: bytes, secrets: list[str], signatures: list[bytes]) -> bool:
    """Return whether a signature is of one of the secrets; all are compared, whatever fits."""
    found = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        for given in signatures:
            found |= hmac.compare_digest(expected, given)
    return found


class _Body(Struct):
    events: tuple[WebhookEvent, ...] = ()


def _read(delivery: str, body: bytes) -> Webhook:
    try:
        return Webhook(delivery, msgspec.json.decode(body, type=_Body).events)
    except (ValueError, RecursionError) as error:
        raise BadWebhook(f"the body is none of a webhook's: {error}") from None
