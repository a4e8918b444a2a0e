"""What the log says of pages that were refused, and how often."""

from __future__ import annotations

import logging

import pytest

from sockets.auth import refused_pages
from sockets.auth.refused_pages import EACH, LINE_EVERY, LINES_AT_ONCE, MOST, RefusalLog


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(refused_pages, "time", clock)
    return clock


def test_a_line_is_written_once_in_a_while(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog()
    for _ in range(100):
        log.tell("set A=1")
    clock.now += EACH - 0.001
    log.tell("set A=1")
    assert [(line.levelno, line.getMessage()) for line in caplog.records] == [
        (logging.WARNING, "set A=1")
    ]
    clock.now += 0.002
    log.tell("set A=1")
    assert caplog.records[1].getMessage() == "set A=1 (100 such lines were left out)"


def test_another_page_has_a_line_of_its_own(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog()
    log.tell("set A=1")
    log.tell("set A=2")
    assert [line.getMessage() for line in caplog.records] == ["set A=1", "set A=2"]


def test_strangers_fill_neither_the_log_nor_the_memory(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = RefusalLog()
    for number in range(MOST * 4):
        log.tell(f"set A={number}")
    assert len(caplog.records) == LINES_AT_ONCE
    assert len(log._each._buckets) == MOST
    clock.now += LINE_EVERY
    log.tell("set B=1")
    log.tell("set B=2")
    assert [line.getMessage() for line in caplog.records[LINES_AT_ONCE:]] == [
        f"set B=1 ({MOST * 4 - LINES_AT_ONCE} such lines were left out)"
    ]
