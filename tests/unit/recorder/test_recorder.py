"""The recorder: what was told last is what the row says, whatever the database does meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from hypothesis import given
from hypothesis import strategies as st

from sockets.base import metrics
from sockets.codes import LOST, CloseCode
from sockets.models import Node, Session
from sockets.recorder import Recorder, rows, writer
from sockets.recorder.queue import Close, Entry, Queue
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


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 10 s"
        time.sleep(0.005)


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


# --- rows, without the thread -----------------------------------------------------------------


@pytest.mark.django_db
class TestFlush:
    def test_an_open_session_becomes_a_live_row(self) -> None:
        subject = recorder()
        subject.session_opened(
            info(kind=Kind.WORKER, user="converter", address="[::1]:5", agent="curl/8")
        )
        assert subject.pending == 1
        assert subject.flush() == 1
        assert subject.pending == 0
        row = Session.objects.get()
        assert row.live
        assert (row.id, row.kind, row.user) == (session_id(1), "worker", "converter")
        assert (row.node, row.address, row.agent) == ("here", "[::1]:5", "curl/8")
        assert row.client_id == "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        assert row.connected_at == moment(NOW + 1)
        assert (row.close_code, row.close_reason) == (None, "")

    def test_open_and_close_in_one_batch_are_one_row(self) -> None:
        subject = recorder()
        subject.session_opened(info())
        subject.session_closed(session_id(1), at=NOW + 9, code=4503, reason="replaced")
        assert subject.pending == 1
        assert subject.flush() == 1
        row = Session.objects.get()
        assert (row.disconnected_at, row.close_code) == (moment(NOW + 9), 4503)
        assert row.close_reason == "replaced"

    def test_open_and_close_in_different_batches(self) -> None:
        subject = recorder()
        subject.session_opened(info(user="김철수", agent="curl"))
        subject.flush()
        subject.session_closed(
            session_id(1), at=NOW + 9.25, code=CloseCode.NO_PONG, reason="no pong"
        )
        subject.flush()
        row = Session.objects.get()
        assert (row.disconnected_at, row.close_code) == (moment(NOW + 9.25), 4001)
        assert (row.close_reason, row.user, row.agent) == ("no pong", "김철수", "curl")

    def test_one_batch_holds_opens_and_closes_of_different_sessions(self) -> None:
        subject = recorder()
        subject.session_opened(info(1))
        subject.session_opened(info(2))
        subject.flush()
        subject.session_closed(session_id(1), at=NOW + 50, code=1000, reason="")
        subject.session_opened(info(3))
        subject.session_closed(session_id(3), at=NOW + 60, code=1006, reason="")
        assert subject.flush() == 2
        codes = dict(Session.objects.values_list("id", "close_code"))
        assert codes == {session_id(1): 1000, session_id(2): None, session_id(3): 1006}

    def test_a_close_without_a_row_changes_nothing(self) -> None:
        subject = recorder()
        subject.session_closed(session_id(1), at=NOW, code=1000, reason="")
        subject.flush()
        assert not Session.objects.exists()
        assert (subject.pending, subject.dropped) == (0, 0)

    @pytest.mark.parametrize("between", [True, False])
    def test_a_session_that_comes_back_is_live_again(self, between: bool) -> None:
        subject = recorder()
        subject.session_opened(info())
        subject.flush()
        subject.session_closed(session_id(1), at=NOW + 9, code=LOST, reason="lost")
        if between:
            subject.flush()
        subject.session_opened(info())
        subject.flush()
        row = Session.objects.get()
        assert (row.disconnected_at, row.close_code, row.close_reason) == (None, None, "")

    def test_many_are_written_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []
        save = rows.save

        def note(part: Any) -> None:
            sizes.append(len(part))
            save(part)

        monkeypatch.setattr(rows, "save", note)
        subject = recorder()
        for number in range(1_200):
            subject.session_opened(info(number))
        assert subject.flush() == 1_200
        assert sizes == [500, 500, 200]
        for number in range(1_200):
            subject.session_closed(session_id(number), at=NOW + 5_000, code=1000, reason="")
        subject.flush()
        assert Session.objects.filter(close_code=1000).count() == 1_200

    def test_any_user_id_is_kept(self) -> None:
        users = ["김/철수 %s ' \" \\ 🎉", "x" * 1024, "가" * 341, "\u202eabc", "a\nb\x07"]
        subject = recorder()
        for number, user in enumerate(users):
            subject.session_opened(info(number, user=user))
        subject.flush()
        assert list(Session.objects.order_by("id").values_list("user", flat=True)) == users

    def test_what_a_column_cannot_hold_is_made_to_fit(self) -> None:
        subject = recorder()
        subject.session_opened(
            info(user="a\x00b\ud800c" + "가" * 2000, agent="\x00" * 999, address="9" * 999)
        )
        subject.session_closed(session_id(1), at=NOW, code=99_999, reason="r\x00" * 300)
        subject.flush()
        row = Session.objects.get()
        assert row.user.startswith("a\ufffdb\ufffdc가")
        assert 1022 <= len(row.user.encode()) <= 1024
        assert row.agent == "\ufffd" * 256
        assert len(row.address) == 128
        assert row.close_reason == ("r\ufffd" * 300)[:255]
        assert row.close_code == 32_767
        row.full_clean()

    def test_a_refused_row_takes_no_other_with_it(self, caplog: pytest.LogCaptureFixture) -> None:
        before = metrics.dropped_recorder._value.get()
        subject = recorder()
        for number in range(100):
            bad = number in (17, 18, 80)
            subject.session_opened(
                info(number, user="secret", connected_at=float("nan") if bad else NOW)
            )
        assert subject.flush() == 97
        assert Session.objects.count() == 97
        assert (subject.dropped, subject.pending) == (3, 0)
        assert metrics.dropped_recorder._value.get() == before + 3
        assert session_id(17) in caplog.text
        assert "secret" not in caplog.text


@pytest.mark.django_db
class TestOutage:
    def test_what_was_not_written_waits(self, database: FailingDatabase) -> None:
        subject = recorder()
        for number in range(700):
            subject.session_opened(info(number))
        with pytest.raises(OperationalError):
            subject.flush()
        assert (subject.pending, subject.dropped) == (700, 0)
        subject.session_closed(session_id(3), at=NOW + 90, code=1000, reason="")
        assert subject.pending == 700
        database.away = False
        assert subject.flush() == 700
        assert Session.objects.count() == 700
        assert Session.objects.get(close_code=1000).id == session_id(3)

    def test_the_oldest_go_first_when_there_is_no_room(self, database: FailingDatabase) -> None:
        subject = recorder(queue_size=10)
        for number in range(10):
            subject.session_opened(info(number))
        with pytest.raises(OperationalError):
            subject.flush()
        for number in range(10, 13):
            subject.session_opened(info(number))
        assert (subject.pending, subject.dropped) == (10, 3)
        subject.session_closed(session_id(0), at=NOW, code=1000, reason="")  # of a dropped one
        assert (subject.pending, subject.dropped) == (10, 4)
        database.away = False
        subject.flush()
        written = set(Session.objects.values_list("id", flat=True))
        assert written == {session_id(number) for number in range(4, 13)}

    def test_a_close_told_during_the_attempt_is_not_lost(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = recorder()

        def close_and_fail(entries: Sequence[Entry]) -> None:
            subject.session_closed(session_id(1), at=NOW + 7, code=1006, reason="")
            assert subject.pending == 2  # in flight, and told anew
            raise OperationalError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(rows, "save", close_and_fail)
            subject.session_opened(info())
            with pytest.raises(OperationalError):
                subject.flush()
        assert subject.pending == 1
        subject.flush()
        assert Session.objects.get().close_code == 1006

    def test_a_batch_is_all_or_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        subject = recorder()
        subject.session_opened(info(1))
        subject.flush()
        subject.session_opened(info(2))
        subject.session_closed(session_id(1), at=NOW, code=1000, reason="")

        def gone(value: object) -> None:
            raise OperationalError("gone after the first statement")

        with monkeypatch.context() as patch:
            patch.setattr(connection.ops, "adapt_datetimefield_value", gone)
            with pytest.raises(OperationalError):
                subject.flush()
        assert Session.objects.count() == 1
        assert subject.flush() == 2
        assert Session.objects.count() == 2

    def test_an_outage_in_the_middle_of_halving_keeps_the_rest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = recorder()
        for number in range(8):
            subject.session_opened(info(number))
        answers = iter(["refuse", "refuse", "take", "gone"])  # 8; 4 and 4; 2; 2
        save = rows.save

        def answer(entries: Sequence[Entry]) -> None:
            match next(answers, "take"):
                case "refuse":
                    raise ValueError("a bad one")
                case "gone":
                    raise OperationalError("gone")
            save(entries)

        monkeypatch.setattr(rows, "save", answer)
        with pytest.raises(OperationalError):
            subject.flush()
        assert (Session.objects.count(), subject.pending) == (2, 6)
        subject.flush()
        assert (Session.objects.count(), subject.dropped) == (8, 0)

    def test_only_content_is_refused(self) -> None:
        class LimitExceeded(Exception):
            sqlstate = "54000"

        too_large = OperationalError("index row size 4000 exceeds btree maximum")
        too_large.__cause__ = LimitExceeded()
        assert rows.is_refusal(too_large)
        assert rows.is_refusal(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"))
        assert not rows.is_refusal(OperationalError("database is locked"))


@pytest.mark.django_db
class TestNode:
    def test_the_previous_process_left_sessions_open(self) -> None:
        Node.objects.create(
            name="here",
            started_at=moment(NOW - 900),
            seen_at=moment(NOW - 50.5),
            stopped_at=moment(NOW - 50),
            pid=1,
        )
        old = recorder()
        old.session_opened(info(1, connected_at=NOW - 800))
        old.session_opened(info(2, connected_at=NOW - 49))  # after the last heartbeat
        old.session_opened(info(3, connected_at=NOW - 800, node="elsewhere"))
        old.session_opened(info(4, connected_at=NOW - 800))
        old.session_closed(session_id(4), at=NOW - 700, code=1000, reason="")
        old.flush()
        subject = recorder()
        subject.session_opened(info(5, connected_at=NOW))  # before the first attempt
        subject.start(thread=False, client_url="ws://a/", worker_url="ws://b/", version="1.2")
        subject.flush()
        ends = {
            row.id: (row.disconnected_at, row.close_code, row.close_reason)
            for row in Session.objects.all()
        }
        died = "the gateway process died"
        assert ends == {
            session_id(1): (moment(NOW - 50.5), LOST, died),
            session_id(2): (moment(NOW - 49), LOST, died),
            session_id(3): (None, None, ""),
            session_id(4): (moment(NOW - 700), 1000, ""),
            session_id(5): (None, None, ""),
        }
        node = Node.objects.get()
        assert (node.started_at, node.seen_at) == (moment(NOW), moment(NOW))
        assert node.stopped_at is None
        assert (node.client_url, node.worker_url, node.version) == ("ws://a/", "ws://b/", "1.2")

    def test_without_a_node_row_lost_sessions_end_now(self) -> None:
        old = recorder()
        old.session_opened(info(1, connected_at=NOW - 800))
        old.flush()
        subject = recorder()
        subject.start(thread=False)
        subject.flush()
        assert Session.objects.get().disconnected_at == moment(NOW)

    def test_the_true_close_of_a_session_called_lost_wins(self) -> None:
        """A restart under the same name begins while the old process still closes its sockets."""
        old = recorder()
        old.session_opened(info(1))
        old.flush()
        new = recorder()
        new.start(thread=False)
        new.flush()
        old.session_closed(session_id(1), at=NOW + 3, code=1012, reason="shutting down")
        old.flush()
        assert Session.objects.get().close_code == 1012

    def test_heartbeat_and_stop(self) -> None:
        now = NOW
        subject = Recorder(node="here", queue_size=9, interval=1, clock=lambda: now)
        subject.start(thread=False)
        subject.node_seen(NOW + 10)
        subject.node_seen(NOW + 20)
        subject.flush()
        assert Node.objects.get().seen_at == moment(NOW + 20)
        now = NOW + 30
        assert subject.stop(1)
        node = Node.objects.get()
        assert (node.seen_at, node.stopped_at) == (moment(NOW + 30), moment(NOW + 30))

    def test_without_start_there_is_no_node(self) -> None:
        subject = recorder()
        subject.node_seen(NOW)
        subject.session_opened(info())
        assert subject.stop(1)
        assert Session.objects.count() == 1
        assert not Node.objects.exists()

    def test_stop_without_a_thread_says_that_the_database_is_away(
        self, database: FailingDatabase
    ) -> None:
        subject = recorder()
        subject.session_opened(info())
        assert not subject.stop(1)
        assert subject.pending == 1


@pytest.mark.django_db
class TestOthersThatDied:
    @staticmethod
    def found(number: int, node: str = "other") -> Session:
        return Session.objects.create(
            id=session_id(number),
            kind="client",
            user="42",
            client_id="C",
            node=node,
            connected_at=moment(NOW),
        )

    @staticmethod
    def enter(started: float) -> None:
        Node.objects.create(name="other", started_at=moment(started), seen_at=moment(NOW), pid=1)

    def test_their_rows_are_closed_once(self) -> None:
        self.enter(NOW - 100)
        self.found(1)
        mine = self.found(2, "here")
        subject = recorder()
        subject.start(thread=False)
        subject.flush()
        Session.objects.filter(id=mine.id).update(disconnected_at=None)
        subject.node_died("other", started=NOW - 100, at=NOW + 50)
        subject.flush()
        row = Session.objects.get(id=session_id(1))
        assert (row.close_code, row.disconnected_at) == (LOST, moment(NOW + 50))
        assert Session.objects.get(id=mine.id).live
        self.found(3)
        subject.flush()
        assert Session.objects.get(id=session_id(3)).live, "it is told once"

    def test_a_process_that_has_entered_since_saw_to_it(self) -> None:
        """Its sessions have the same node's name, and live."""
        self.enter(NOW - 1)
        self.found(1)
        subject = recorder()
        subject.node_died("other", started=NOW - 100, at=NOW)
        subject.flush()
        assert Session.objects.get().live

    def test_it_waits_for_the_database(
        self, database: FailingDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.enter(NOW - 100)
        self.found(1)
        subject = recorder()
        subject.session_opened(info(5))
        subject.node_died("other", started=NOW - 100, at=NOW)
        with pytest.raises(OperationalError):
            subject.flush()
        assert Session.objects.get(id=session_id(1)).live
        database.away = False
        subject.flush()
        assert not Session.objects.get(id=session_id(1)).live


@pytest.mark.django_db
class TestGap:
    def test_an_end_that_was_dropped_is_made_up_for(self, database: FailingDatabase) -> None:
        database.away = False
        live = [session_id(2), session_id(9)]
        subject = Recorder(
            node="here", queue_size=2, interval=1, live=lambda: live, clock=lambda: NOW + 99
        )
        subject.start(thread=False)
        for number in (1, 2, 3):
            subject.session_opened(info(number))
            subject.flush()
        database.away = True
        subject.session_closed(session_id(1), at=NOW, code=1000, reason="")
        subject.session_closed(session_id(3), at=NOW, code=1000, reason="")
        subject.session_opened(info(9))
        assert subject.dropped == 1
        with pytest.raises(OperationalError):
            subject.flush()
        database.away = False
        subject.flush()
        ends = dict(Session.objects.values_list("id", "close_code"))
        assert ends == {
            session_id(1): LOST,
            session_id(2): None,
            session_id(3): 1000,
            session_id(9): None,
        }
        Session.objects.filter(id=session_id(1)).update(disconnected_at=None)
        subject.flush()
        assert Session.objects.get(id=session_id(1)).live, "asked once for each gap"

    def test_a_database_that_is_away_just_then_is_asked_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = Recorder(node="here", queue_size=1, interval=1, clock=lambda: NOW + 99)
        subject.start(thread=False)
        subject.session_opened(info(1))
        subject.flush()
        for number in (1, 2):
            subject.session_closed(session_id(number), at=NOW, code=1000, reason="")
        with monkeypatch.context() as away:

            def fail(*_: object) -> int:
                raise OperationalError("gone")

            away.setattr(rows, "close_all_but", fail)
            with pytest.raises(OperationalError):
                subject.flush()
        assert Session.objects.get().live
        subject.flush()
        assert Session.objects.get().close_code == LOST


# --- the thread ---------------------------------------------------------------------------------


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


# --- the queue ----------------------------------------------------------------------------------

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "write", "write 1", "fail"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(_STEPS)
def test_the_last_word_is_what_is_written(steps: list[tuple[str, int]]) -> None:
    """Any order of notes, batches and failed batches ends in the state that was told last."""
    queue = Queue(100)
    told: dict[str, int | None] = {}
    table: dict[str, int | None] = {}

    def write(entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.info is not None or entry.id in table:
                table[entry.id] = entry.close.code if entry.close else None

    for step, (action, number) in enumerate(steps):
        name = session_id(number)
        match action:
            case "open":
                queue.opened(info(number))
                told[name] = None
            case "close":
                queue.closed(name, Close(NOW, step, ""))
                if name in told:
                    told[name] = step
            case "fail":
                taken = queue.take(2)
                queue.opened(info(3))
                told[session_id(3)] = None
                write(taken[:1])
                queue.put_back(taken[1:])
            case _:
                write(queue.take(1 if action == "write 1" else 100))
                queue.done()
    write(queue.take(100))
    queue.done()
    assert table == told
    assert (queue.pending, queue.dropped) == (0, 0)
