"""A recorder of the node `here`, and a database that can be away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError

from sockets.recorder import Recorder, rows
from sockets.recorder.queue import Entry
from sockets.types import Kind, SessionInfo

NOW = 1_800_000_000.0


def session_id(number: int) -> str:
    return f"01{number:024d}"


def info(number: int = 1, **given: Any) -> SessionInfo:
    values: dict[str, Any] = {
        "id": session_id(number),
        "kind": Kind.CLIENT,
        "user": "42",
        "client_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "node": "here",
        "connected_at": NOW + number,
    }
    return SessionInfo(**values | given)


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def recorder(*, queue_size: int = 10_000, interval: float = 0.01, now: float = NOW) -> Recorder:
    return Recorder(node="here", queue_size=queue_size, interval=interval, clock=lambda: now)


class FailingDatabase:
    """Stands before `rows.save`: fails while `away`, as a database that is gone does."""

    def __init__(self) -> None:
        self.away = True
        self.attempts = 0

    def __call__(self, entries: Sequence[Entry]) -> None:
        self.attempts += 1
        if self.away:
            raise OperationalError("connection refused\nLINE 1: INSERT ... 'a user'")
        self.save(entries)

    save = staticmethod(rows.save)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> FailingDatabase:
    failing = FailingDatabase()
    monkeypatch.setattr(rows, "save", failing)
    return failing
