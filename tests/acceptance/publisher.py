"""A backend in a process of its own: sends durable messages, and repeats what is not known.

    publisher.py USERS MESSAGES PER_SECOND

Prints one JSON object at the end: by user, its epoch and its last offset, and the ids of what was
acknowledged; and how often a call had to be repeated.
"""

from __future__ import annotations

import json
import sys
import time

import django

django.setup()

from sockets.api import notify_user
from sockets.exceptions import GatewayUnavailable
from sockets.types import Receipt

PATIENCE = 60.0
"""Seconds that one message may take, outages included."""


def send(user: str, number: int) -> tuple[Receipt, int]:
    """The receipt, and how many attempts failed."""
    until = time.monotonic() + PATIENCE
    failed = 0
    while True:
        try:
            return notify_user(user, "e", number, idempotency_key=f"m{number}"), failed
        except GatewayUnavailable:
            if time.monotonic() > until:
                raise
            failed += 1
            time.sleep(0.05)


def main(users: int, messages: int, rate: float) -> None:
    heads: dict[str, tuple[str, int]] = {}
    sent: dict[str, list[str]] = {}
    repeated = 0
    start = time.monotonic()
    for number in range(messages):
        ahead = number / rate - (time.monotonic() - start)
        if ahead > 0:
            time.sleep(ahead)
        user = f"u{number % users}"
        receipt, failed = send(user, number)
        assert receipt.epoch is not None and receipt.offset is not None
        heads[user] = (receipt.epoch, receipt.offset)
        sent.setdefault(user, []).append(receipt.id)
        repeated += failed
    sys.stdout.write(json.dumps({"heads": heads, "sent": sent, "repeated": repeated}))


main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
