"""The signature of a webhook: made by the gateway, checked by receivers.

    Gateway-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256(secret, "<t>." + body)>

The time is part of what is signed, so a stranger who has recorded a request cannot send it again
later.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time

HEADER = "Gateway-Signature"

_MAX_HEADER = 1024  # characters; ours has about 85
_TIME = re.compile(r"[0-9]{1,12}")


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The value of the header for this body, signed at `timestamp` (seconds since the epoch)."""
    return f"t={timestamp},v1={_digest(secret, timestamp, body)}"


def verify(
    secret: str, header: str, body: bytes, *, tolerance: float = 300.0, now: float | None = None
) -> bool:
    """Whether the body is the gateway's, and was signed at most `tolerance` seconds ago.

    `body`: as it came, before any JSON is parsed. `now`: seconds since the epoch, by default those
    of the clock; one that is behind the gateway's is as wrong as one that is ahead. Members of the
    header that are not known are skipped; of several `v1` one must fit. Never raises.
    """
    members = [item.strip().partition("=") for item in header[:_MAX_HEADER].split(",")]
    times = [value for name, _, value in members if name == "t"]
    if len(times) != 1 or _TIME.fullmatch(times[0]) is None:
        return False
    timestamp = int(times[0])
    if abs((time.time() if now is None else now) - timestamp) > tolerance:
        return False
    expected = _digest(secret, timestamp, body).encode()
    given = [value.encode(errors="replace") for name, _, value in members if name == "v1"]
    return any(hmac.compare_digest(expected, value) for value in given)


def _digest(secret: str, timestamp: int, body: bytes) -> str:
    signed = b"%d.%b" % (timestamp, body)
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
