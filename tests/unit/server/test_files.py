"""At the limit of open files the public port keeps no connection, and says so now and then."""

from __future__ import annotations

import logging

import pytest

from sockets.server import files
from sockets.server.files import TELL_EVERY, Files
from tests.support.doubles import MovedClock


def test_only_the_last_descriptors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "is_spare", lambda descriptor: descriptor < 70)
    subject = Files()
    assert subject.has_space(69) and not subject.has_space(70)


def test_it_is_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "is_spare", lambda _: False)
    monkeypatch.setattr(files, "limit", lambda: 80)
    clock = MovedClock(0.0)
    subject = Files(clock)
    lines: list[int] = []
    with caplog.at_level(logging.WARNING):
        for seconds in (0.0, TELL_EVERY - 1, 1.0, 1.0):
            clock.advance(seconds)
            assert not subject.has_space(77)
            lines.append(len(caplog.records))
    assert lines == [1, 1, 2, 2]
    assert "has 77 of the 80 files open" in caplog.text
