"""Rule 16: rows of sessions go SESSION_KEEP after their end, in small steps; live ones never."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from sockets.base import metrics
from sockets.models import Node, Session
from sockets.recorder import Recorder, pruning, rows
from sockets.recorder.pruning import Pruner
from sockets.types import Kind, SessionInfo

NOW = 1_800_000_000.0
DAY = 86_400.0
KEEP = 90 * DAY


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def session_id(number: int) -> str:
    return f"01{number:024d}"


def row(number: int, *, began: float, ended: float | None) -> Session:
    """A row; `began` and `ended` in days before now."""
    return Session(
        id=session_id(number),
        kind="client",
        user="42",
        client_id="C",
        node="here",
        connected_at=moment(NOW - began * DAY),
        disconnected_at=None if ended is None else moment(NOW - ended * DAY),
    )


def old(numbers: Iterable[int]) -> None:
    Session.objects.bulk_create(row(n, began=200, ended=100) for n in numbers)


def node(name: str, *, seen: float = NOW, stopped: bool = False) -> None:
    at = moment(seen)
    made = Node(name=name, started_at=at, seen_at=at, pid=1, stopped_at=at if stopped else None)
    made.save(force_insert=True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 10 s"
        time.sleep(0.005)


def pruned() -> float:
    return float(metrics.RECORDER_PRUNED._value.get())


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time that the pruner waits by."""
    now = [1_000.0]
    monkeypatch.setattr("sockets.recorder.pruning.time.monotonic", lambda: now[0])

    def move(count: float) -> None:
        now[0] += count * 60

    return move


@pytest.mark.django_db
class TestOneStep:
    def test_only_what_ended_before_goes(self) -> None:
        """Rule 16: by the end of a session, not by its beginning; what is live stays."""
        Session.objects.bulk_create(
            [
                row(1, began=200, ended=91),
                row(2, began=200, ended=89),
                row(3, began=200, ended=None),
                row(4, began=1, ended=0.5),
            ]
        )
        assert pruning.prune(moment(NOW - KEEP)) == (1, None)
        assert set(Session.objects.values_list("id", flat=True)) == {*map(session_id, (2, 3, 4))}
        assert pruning.prune(moment(NOW - KEEP)) == (0, None)

    def test_steps_are_small_and_the_oldest_go_first(self) -> None:
        old(range(1_200))
        Session.objects.bulk_create([row(5_000, began=300, ended=99)])
        before, counts = moment(NOW - KEEP), []
        count, after = pruning.prune(before)
        assert not Session.objects.filter(id=session_id(5_000)).exists()
        assert Session.objects.count() == 701
        counts.append(count)
        while after is not None:
            count, after = pruning.prune(before, after)
            counts.append(count)
        assert counts == [500, 500, 201]
        assert not Session.objects.exists()

    def test_a_session_that_came_back_meanwhile_stays(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the step's look and its delete."""
        old([1, 2])
        atomic = transaction.atomic

        def opened_again(**given: Any) -> Any:
            Session.objects.filter(id=session_id(1)).update(disconnected_at=None)
            return atomic(**given)

        monkeypatch.setattr(transaction, "atomic", opened_again)
        assert pruning.prune(moment(NOW - KEEP)) == (1, None)
        assert Session.objects.get().id == session_id(1)

    def test_two_at_once_delete_each_row_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old([1, 2])
        before, atomic = moment(NOW - KEEP), transaction.atomic
        counts: list[int] = []

        def other_is_faster(**given: Any) -> Any:
            monkeypatch.setattr(transaction, "atomic", atomic)
            counts.append(pruning.prune(before)[0])
            return atomic(**given)

        monkeypatch.setattr(transaction, "atomic", other_is_faster)
        counts.append(pruning.prune(before)[0])
        assert counts == [2, 0]

    @pytest.mark.parametrize("goes_on", [False, True])
    def test_no_step_reads_or_sorts_the_whole_table(self, goes_on: bool) -> None:
        after = (moment(NOW - 200 * DAY), session_id(0)) if goes_on else None
        old([1])
        with CaptureQueriesContext(connection) as asked:
            pruning.prune(moment(NOW - KEEP), after)
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {asked[0]['sql']}")
            plan = " ".join(str(line[-1]) for line in cursor.fetchall())
        part = "(connected_at>? AND connected_at<?)" if goes_on else "(connected_at<?)"
        assert f"USING INDEX session_newest {part}" in plan and "TEMP B-TREE" not in plan, plan


@pytest.mark.django_db
class TestByANode:
    def test_a_step_a_minute_and_more_while_there_is_more(
        self, minutes: Callable[[float], None]
    ) -> None:
        """Rule 16, and the metric counts what went."""
        old(range(700))
        subject, before = Pruner(KEEP, lambda: NOW), pruned()
        subject.work("here")
        assert Session.objects.count() == 700
        minutes(1)
        subject.work("here")
        assert Session.objects.count() == 200
        subject.work("here")
        assert Session.objects.count() == 0
        assert pruned() - before == 700
        old([1])
        subject.work("here")
        assert Session.objects.count() == 1
        minutes(1)
        subject.work("here")
        assert Session.objects.count() == 0

    def test_0_keeps_them_for_ever(self, minutes: Callable[[float], None]) -> None:
        old([1])
        subject = Pruner(0, lambda: NOW)
        minutes(10)
        subject.work("here")
        assert Session.objects.exists()

    def test_longer_than_since_1970_is_for_ever(self, minutes: Callable[[float], None]) -> None:
        old([1])
        subject = Pruner(1e15, lambda: NOW)
        minutes(10)
        subject.work("here")
        assert Session.objects.exists()
        assert not subject._failed

    def test_one_node_does_it_for_all(self, minutes: Callable[[float], None]) -> None:
        """Rule 16: the first by name of those that live; when it is gone, the next."""
        old([1])
        node("a")
        node("b")
        subject = Pruner(KEEP, lambda: NOW)
        minutes(1)
        subject.work("b")
        assert Session.objects.exists()
        subject.work("a")
        assert Session.objects.exists(), "it asked a moment ago"
        minutes(1)
        subject.work("a")
        assert not Session.objects.exists()

    @pytest.mark.parametrize("how", ["stopped", "silent"])
    def test_a_node_that_does_not_live_is_not_waited_for(
        self, how: str, minutes: Callable[[float], None]
    ) -> None:
        old([1])
        node("a", stopped=how == "stopped", seen=NOW - (0 if how == "stopped" else 151))
        node("b")
        subject = Pruner(KEEP, lambda: NOW)
        minutes(1)
        subject.work("b")
        assert not Session.objects.exists()

    def test_a_database_that_refuses_is_told_of_once_and_asked_again(
        self,
        minutes: Callable[[float], None],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        old([1])
        subject = Pruner(KEEP, lambda: NOW)
        monkeypatch.setattr(rows, "drop_connection", lambda: None)  # the test's own

        def refuse(*_: Any) -> Any:
            raise OperationalError("permission denied\nLINE 1: DELETE")

        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(pruning, "prune", refuse)
            for _ in range(3):
                minutes(1)
                subject.work("here")
        assert [record.getMessage() for record in caplog.records] == [
            "recorder: old rows of sessions were not deleted "
            "(OperationalError: permission denied); tried again"
        ]
        minutes(1)
        subject.work("here")
        assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_recorders_thread_prunes_and_goes_on_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 16: in the thread that writes, which a failing step does not stop."""
    monkeypatch.setattr(pruning, "PAUSE", 0.02)
    prune, failures = pruning.prune, [OperationalError("permission denied")]

    def first_fails(*given: Any) -> Any:
        if failures:
            raise failures.pop()
        return prune(*given)

    monkeypatch.setattr(pruning, "prune", first_fails)
    old([1])
    subject = Recorder(node="here", queue_size=10, interval=0.01, keep=KEEP, clock=lambda: NOW)
    subject.start()
    try:
        until(lambda: not Session.objects.exists())
        subject.session_opened(
            SessionInfo(
                id=session_id(2),
                kind=Kind.CLIENT,
                user="42",
                client_id="C",
                node="here",
                connected_at=NOW,
            )
        )
        until(lambda: Session.objects.exists())
    finally:
        assert subject.stop(5)
        connections.close_all()
    assert not failures
