"""The audit log: who was refused, who used which key, what was revoked, what an operator did.

One structured line an event in the logger `gateway.audit`, whatever LOG_LEVEL is (only `silent`
ends it). Lines have an end: an attacker who is refused a thousand times a second must not fill
the disk. What is above it is counted, and the next line of its kind says how many were left out.
"""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import Any, Final

from sockets.base import metrics
from sockets.base.rate import Bucket
from sockets.types import Audit

logger = logging.getLogger("gateway.audit")

actor: ContextVar[str] = ContextVar("gateway_actor", default="")
"""Who acts: "key:<name>" for a backend, "staff:<username>" for an operator; "" for Django code."""

LINES_A_SECOND: Final = 20.0
"""Of one kind of event, for ever ..."""

LINES_AT_ONCE: Final = 200
"""... and at once."""


class AuditLog:
    """Bounded, per kind of event."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._buckets = {
            kind: Bucket(now, rate=LINES_A_SECOND, burst=LINES_AT_ONCE) for kind in Audit
        }
        self._left_out = dict.fromkeys(Audit, 0)

    def record(self, kind: Audit, /, **details: Any) -> None:
        """Write one event; `details` must hold no secret. Any thread."""
        metrics.audited[kind].inc()
        if not self._buckets[kind].take(time.monotonic()):
            self._left_out[kind] += 1
            metrics.dropped_audit.inc()
            return
        if left_out := self._left_out[kind]:
            self._left_out[kind] = 0
            details["left_out"] = left_out
        if (by := actor.get()) and "by" not in details:
            details["by"] = by
        # Below one name: members of a log record must not be called "name" or "args".
        logger.info(kind.value, extra={"audit": {k: v for k, v in details.items() if v != ""}})


_log = AuditLog()
record = _log.record
