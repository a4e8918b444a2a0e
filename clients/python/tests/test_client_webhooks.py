"""Webhooks: what the gateway signs is read, and everything that must not pass."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gateway_client import BadWebhook, verify_webhook
from sockets.signatures import sign

SECRET, OLD = "0123456789abcdef", "fedcba9876543210"
NOW = 1_800_000_000
EVENTS: list[dict[str, Any]] = [
    {"id": "42:7", "type": "user_online", "user": "42", "at": 1.5, "generation": 7},
    {
        "id": "s:1",
        "type": "session_closed",
        "user": "42",
        "at": 2.5,
        "session": {"id": "s", "kind": "client", "client_id": "c", "node": "n"},
        "code": 1000,
        "reason": "bye",
        "cause": "client",
    },
    {"id": "9", "type": "of tomorrow", "user": "42", "at": 3, "more": [1]},
]
BODY = json.dumps({"events": EVENTS}).encode()
HEADERS = {"Gateway-Signature": sign(SECRET, NOW, BODY), "Gateway-Delivery": "d1"}


def test_its_events() -> None:
    made = verify_webhook(HEADERS, BODY, SECRET, now=NOW)
    online, closed, unknown = made.events
    assert made.delivery == "d1"
    assert (online.type, online.user, online.generation) == ("user_online", "42", 7)
    assert closed.session is not None and closed.session.client_id == "c"
    assert (closed.code, closed.reason, closed.cause) == (1000, "bye", "client")
    assert unknown.type == "of tomorrow"


def test_the_clock_of_this_machine() -> None:
    header = sign(SECRET, int(time.time()), BODY)
    assert verify_webhook({"gateway-signature": header}, BODY, SECRET).delivery == ""
    with pytest.raises(BadWebhook, match="clock"):
        verify_webhook(HEADERS, BODY, SECRET)


def test_a_secret_that_is_changed() -> None:
    for secrets in ([OLD, SECRET], [SECRET, OLD], (SECRET,), iter([SECRET])):
        assert verify_webhook(HEADERS, BODY, secrets, now=NOW).events
    with pytest.raises(BadWebhook, match="another secret"):
        verify_webhook(HEADERS, BODY, OLD, now=NOW)


def test_several_signatures_in_one_header() -> None:
    header = HEADERS["Gateway-Signature"]
    both = f"t={NOW},v0=x,v1={'0' * 64},{header.partition(',')[2]}"
    assert verify_webhook({"Gateway-Signature": both}, BODY, SECRET, now=NOW).events


@pytest.mark.parametrize("tolerance", [10, 300])
def test_the_window(tolerance: float) -> None:
    for now in (NOW - tolerance, NOW + tolerance):
        assert verify_webhook(HEADERS, BODY, SECRET, tolerance=tolerance, now=now).events
    for now in (NOW - tolerance - 1, NOW + tolerance + 1):
        with pytest.raises(BadWebhook, match="clock"):
            verify_webhook(HEADERS, BODY, SECRET, tolerance=tolerance, now=now)


@pytest.mark.parametrize(
    "header",
    ["", "v1=00", f"t={NOW}", f"t={NOW},v1=", f"t={NOW},v1=\ud800ä", f"t={'9' * 900},v1=0", "t=١"],
)
def test_headers_that_do_not_count(header: str) -> None:
    with pytest.raises(BadWebhook):
        verify_webhook({"Gateway-Signature": header}, BODY, SECRET, now=NOW)


@pytest.mark.parametrize("secrets", ["", [], [SECRET, ""], ()])
def test_an_empty_secret_is_a_mistake_of_the_settings(secrets: Any) -> None:
    with pytest.raises(ValueError, match="WEBHOOK_SECRET"):
        verify_webhook(HEADERS, BODY, secrets, now=NOW)


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"events":[{}]}', b"[" * 10_000, b"\xff"])
def test_a_body_that_is_none(body: bytes) -> None:
    headers = {"Gateway-Signature": sign(SECRET, NOW, body)}
    with pytest.raises(BadWebhook, match="body"):
        verify_webhook(headers, body, SECRET, now=NOW)
