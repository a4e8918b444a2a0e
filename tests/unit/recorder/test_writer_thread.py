"""The writer's thread: when it writes, and how it stops."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from sockets.base import metrics
from sockets.models import Node, Session
from sockets.recorder import Recorder, rows, writer
from sockets.recorder.queue import Entry
from tests.unit.recorder.conftest import NOW, FailingDatabase, info, moment, recorder, session_id


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 10 s"
        time.sleep(0.005)


@pytest.fixture
def running(transactional_db: None) -> Iterator[Recorder]:
    subject = recorder(queue_size=1_000)
    assert subject.start(wait=10) == 0
    yield subject
    subject.stop(10)


class TestThread:
    def test_it_writes_by_itself_and_stops_clean(self, running: Recorder) -> None:
        assert Node.objects.get().stopped_at is None
        running.session_opened(info())
        until(lambda: running.pending == 0)
        assert Session.objects.get().live
        running.session_closed(session_id(1), at=NOW + 9, code=1000, reason="")
        assert running.stop(10)
        assert Session.objects.get().close_code == 1000
        assert Node.objects.get().stopped_at is not None
        assert "recorder" not in [thread.name for thread in threading.enumerate()]

    def test_start_and_stop_again_change_nothing(self, running: Recorder) -> None:
        assert running.start(wait=10) == 0
        assert [t.name for t in threading.enumerate()].count("recorder") == 1
        assert running.stop(10)
        Node.objects.update(seen_at=moment(5))
        assert running.stop(10)
        assert Node.objects.get().seen_at == moment(5)

    def test_it_can_be_started_anew(self, running: Recorder) -> None:
        assert running.stop(10)
        running.session_opened(info())
        assert running.start(wait=10) == 0
        assert running.stop(10)
        assert Session.objects.get().live

    def test_start_tells_how_many_were_lost(self, transactional_db: None) -> None:
        old = recorder()
        for number in range(3):
            old.session_opened(info(number))
        old.flush()
        subject = recorder()
        try:
            assert subject.start(wait=10) == 3
        finally:
            assert subject.stop(10)

    def test_its_connection_is_closed(
        self, running: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used: list[Any] = []
        save = rows.save

        def note(part: Any) -> None:
            used.append(connections["default"])
            save(part)

        monkeypatch.setattr(rows, "save", note)
        running.session_opened(info())
        assert running.stop(10)
        assert used[0] is not connections["default"]
        assert used[0].connection is None

    def test_one_line_for_an_outage_whatever_its_length(
        self, running: Recorder, database: FailingDatabase, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="sockets")
        running.session_opened(info())
        until(lambda: database.attempts >= 5)
        for number in range(2, 2_000):
            running.session_opened(info(number))
        assert running.pending <= 1_000 + writer.BATCH
        database.away = False
        until(lambda: running.pending == 0)
        assert running.stop(10)
        lines = [record.getMessage() for record in caplog.records]
        assert sum("does not take rows" in line for line in lines) == 1
        assert sum("is back" in line for line in lines) == 1
        assert sum("has a gap" in line for line in lines) == 1
        assert "a user" not in caplog.text  # PostgreSQL quotes the statement in its later lines
        assert Session.objects.count() == 1_000
        assert running.dropped == 999

    def test_a_stale_connection_is_replaced_in_silence(
        self, running: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="sockets")
        save = rows.save
        answers = iter([OperationalError("server closed the connection unexpectedly")])

        def once(entries: Sequence[Entry]) -> None:
            if error := next(answers, None):
                raise error
            save(entries)

        monkeypatch.setattr(rows, "save", once)
        running.session_opened(info())
        until(lambda: running.pending == 0)
        assert running.stop(10)
        assert Session.objects.count() == 1
        assert not caplog.records

    def test_a_database_without_tables_gets_its_rows_later(self, running: Recorder) -> None:
        """A real refusal of the real database, healed under the running thread."""
        table = connection.ops.quote_name(Session._meta.db_table)
        failures = metrics.RECORDER_FAILURES._value.get()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            running.session_opened(info())
            until(lambda: metrics.RECORDER_FAILURES._value.get() > failures)
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
        until(lambda: running.pending == 0)
        assert Session.objects.count() == 1
        assert running.dropped == 0

    def test_stop_gives_up_in_time(self, running: Recorder, database: FailingDatabase) -> None:
        running.session_opened(info())
        started = time.monotonic()
        assert not running.stop(0.2)
        assert time.monotonic() - started < 5
        assert running.pending == 1
        until(lambda: "recorder" not in [thread.name for thread in threading.enumerate()])
        assert not running.stop(10)

    def test_stop_keeps_trying_while_there_is_time(
        self, running: Recorder, database: FailingDatabase
    ) -> None:
        running.session_opened(info())
        until(lambda: database.attempts >= 3)
        seen = database.attempts

        def heal() -> None:
            until(lambda: database.attempts >= seen + 3)
            database.away = False

        healer = threading.Thread(target=heal)
        healer.start()
        assert running.stop(10)
        healer.join()
        assert Session.objects.count() == 1

    def test_stop_does_not_wait_for_a_database_that_hangs(
        self, running: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = threading.Event()
        save = rows.save
        monkeypatch.setattr(rows, "save", lambda part: (answer.wait(10), save(part)))
        running.session_opened(info())
        assert not running.stop(0.1)
        answer.set()
        until(lambda: "recorder" not in [thread.name for thread in threading.enumerate()])

    def test_notes_from_many_threads(self, running: Recorder) -> None:
        def tell(first: int) -> None:
            for number in range(first, first + 100):
                running.session_opened(info(number))
                running.session_closed(session_id(number), at=NOW + 9_999, code=1000, reason="")

        tellers = [threading.Thread(target=tell, args=(first * 100,)) for first in range(8)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join()
        assert running.stop(10)
        assert Session.objects.filter(close_code=1000).count() == 800
