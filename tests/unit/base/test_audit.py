"""The audit log: structured, bounded, never silent."""

from __future__ import annotations

import logging

import pytest

from sockets.base import audit, metrics
from sockets.logs import logging_config
from sockets.types import Audit


def details(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = record.audit  # type: ignore[attr-defined]
    return found


def test_an_event_is_one_structured_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    before = metrics.audited[Audit.REFUSED]._value.get()
    audit.AuditLog().record(Audit.REFUSED, code=4501, name="args", user="")
    (line,) = caplog.records
    assert (line.name, line.getMessage()) == ("gateway.audit", "refused")
    assert details(line) == {"code": 4501, "name": "args"}
    assert metrics.audited[Audit.REFUSED]._value.get() == before + 1


def test_a_flood_is_cut_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    now = [100.0]
    monkeypatch.setattr("sockets.base.audit.time.monotonic", lambda: now[0])
    log = audit.AuditLog()
    before = metrics.dropped_audit._value.get()
    for _ in range(audit.LINES_AT_ONCE + 50):
        log.record(Audit.REFUSED)
    assert len(caplog.records) == audit.LINES_AT_ONCE
    assert metrics.dropped_audit._value.get() == before + 50
    log.record(Audit.REVOKED)  # another kind has a measure of its own
    assert len(caplog.records) == audit.LINES_AT_ONCE + 1
    now[0] += 1
    log.record(Audit.REFUSED)
    log.record(Audit.REFUSED)
    assert [details(line).get("left_out") for line in caplog.records[-2:]] == [50, None]


@pytest.mark.parametrize(
    ("level", "audited"),
    [(logging.ERROR, logging.INFO), (logging.CRITICAL + 10, logging.CRITICAL + 10)],
)
def test_verbosity_does_not_end_it(level: int, audited: int) -> None:
    assert logging_config(level, json=True)["loggers"]["gateway.audit"]["level"] == audited
