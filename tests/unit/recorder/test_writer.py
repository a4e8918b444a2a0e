"""What was told last is what the row says, whatever the database does meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db import OperationalError, connection

from sockets.codes import LOST
from sockets.models import Node, Session
from sockets.recorder import Recorder, rows
from sockets.recorder.queue import Entry
from tests.unit.recorder.conftest import NOW, FailingDatabase, info, moment, recorder, session_id


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
