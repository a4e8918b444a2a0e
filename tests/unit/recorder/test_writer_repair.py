"""The recorder closes what others left open, and what was dropped; never what is live."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import pytest
from django.db import OperationalError

from sockets.base import metrics
from sockets.codes import LOST
from sockets.models import Node, Session
from sockets.recorder import Recorder, rows, writer
from sockets.recorder.queue import Entry
from sockets.types import Kind, SessionInfo

NOW = 1_800_000_000.0

pytestmark = pytest.mark.django_db


def session_id(number: int) -> str:
    return f"01{number:024d}"


def info(number: int, node: str = "here") -> SessionInfo:
    return SessionInfo(
        id=session_id(number),
        kind=Kind.CLIENT,
        user="42",
        client_id="C",
        node=node,
        connected_at=NOW,
    )


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def recorder(
    node: str = "here",
    *,
    queue_size: int = 10_000,
    live: Collection[str] = (),
    now: float = NOW,
) -> Recorder:
    return Recorder(
        node=node, queue_size=queue_size, interval=1, live=lambda: live, clock=lambda: now
    )


def started(subject: Recorder) -> Recorder:
    subject.start(thread=False)
    subject.flush()
    return subject


def opened(node: str = "here", *numbers: int) -> None:
    """Rows of sessions that nobody has seen closing."""
    Session.objects.bulk_create(
        Session(
            id=session_id(number),
            kind="client",
            user="42",
            client_id="C",
            node=node,
            connected_at=moment(NOW),
        )
        for number in numbers
    )


def open_ids() -> set[str]:
    return set(Session.objects.filter(disconnected_at=None).values_list("id", flat=True))


class TestOthersThatDied:
    def test_one_that_lives_again_keeps_its_rows(self) -> None:
        """It was silent, and has come back while the database was away from this node."""
        other = started(recorder("other"))
        other.session_opened(info(1, "other"))
        other.node_seen(NOW + 60)
        other.flush()
        subject = recorder()
        subject.node_died("other", started=NOW, at=NOW + 50)
        subject.flush()
        assert open_ids() == {session_id(1)}
        subject.node_died("other", started=NOW, at=NOW + 100)
        subject.flush()
        assert open_ids() == set()

    def test_its_row_stays_as_it_was(self) -> None:
        started(recorder("other"))
        before = Node.objects.values().get()
        subject = recorder()
        subject.node_died("other", started=NOW, at=NOW + 50)
        subject.flush()
        assert Node.objects.values().get() == before
        assert before["stopped_at"] is None

    def test_a_start_that_took_seconds_is_no_later_process(self) -> None:
        """The others know the node by when it was made; it enters when Redis has answered."""
        now = NOW
        other = Recorder(node="other", queue_size=9, interval=1, clock=lambda: now)
        now = NOW + 5
        started(other)
        opened("other", 1)
        subject = recorder()
        subject.node_died("other", started=NOW, at=NOW + 50)
        subject.flush()
        assert open_ids() == set()

    @pytest.mark.parametrize(("later", "ends"), [(0.9, {LOST}), (1.1, {None})])
    def test_what_is_a_later_process(self, later: float, ends: set[int | None]) -> None:
        started(recorder("other", now=NOW + later))
        opened("other", 1)
        subject = recorder()
        subject.node_died("other", started=NOW, at=NOW + 50)
        subject.flush()
        assert set(Session.objects.values_list("close_code", flat=True)) == ends

    def test_the_last_word_counts_also_while_the_database_fails(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened("other", 1)
        subject = recorder()

        def told_anew(*_: object) -> int:
            subject.node_died("other", started=NOW + 20, at=NOW + 70)
            raise OperationalError("gone")

        subject.node_died("other", started=NOW, at=NOW + 50)
        with monkeypatch.context() as patch:
            patch.setattr(rows, "close_dead", told_anew)
            with pytest.raises(OperationalError):
                subject.flush()
        subject.flush()
        assert Session.objects.get().disconnected_at == moment(NOW + 70)

    def test_it_is_not_forgotten_while_the_database_fails(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened("other", 1)
        subject = recorder()
        subject.node_died("other", started=NOW, at=NOW + 50)

        def gone(*_: object) -> int:
            raise OperationalError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(rows, "close_dead", gone)
            with pytest.raises(OperationalError):
                subject.flush()
        subject.flush()
        assert open_ids() == set()

    def test_there_is_a_bound_and_it_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "MAX_DEAD", 2)
        opened("a", 1)
        opened("b", 2)
        opened("c", 3)
        before = metrics.dropped_recorder._value.get()
        subject = recorder()
        for name in ("a", "b", "c"):
            subject.node_died(name, started=NOW, at=NOW + 50)
        assert metrics.dropped_recorder._value.get() == before + 1
        subject.node_died("a", started=NOW, at=NOW + 60)  # is known already
        assert metrics.dropped_recorder._value.get() == before + 1
        subject.flush()
        assert open_ids() == {session_id(3)}
        assert Session.objects.get(node="a").disconnected_at == moment(NOW + 60)


class TestGap:
    def test_all_that_are_not_live_are_closed(self) -> None:
        """More than one statement takes; neither the live nor those of another node."""
        live = {session_id(number) for number in (1, 2, 9_999)}  # the last one's open was dropped
        subject = started(recorder(queue_size=1_500, live=live, now=NOW + 99))
        opened("here", *range(1, 1_301))
        opened("other", 5_000)
        for number in range(6_000, 7_501):  # one too many
            subject.session_closed(session_id(number), at=NOW, code=1000, reason="")
        assert subject.dropped == 1
        subject.flush()
        assert open_ids() == {session_id(1), session_id(2), session_id(5_000)}
        row = Session.objects.get(id=session_id(3))
        assert (row.close_code, row.disconnected_at) == (LOST, moment(NOW + 99))

    def test_it_is_made_up_for_when_the_database_has_come_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = started(recorder(queue_size=1))
        opened("here", 1)
        subject.session_closed(session_id(1), at=NOW, code=1000, reason="")
        subject.session_closed(session_id(2), at=NOW, code=1000, reason="")

        def gone(*_: object) -> int:
            raise OperationalError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(rows, "close_all_but", gone)
            with pytest.raises(OperationalError):
                subject.flush()
        assert open_ids() == {session_id(1)}
        subject.flush()
        assert open_ids() == set()

    def test_a_later_process_of_the_same_name_keeps_its_rows(self) -> None:
        """It enters while the earlier one still closes its sockets."""
        old = started(recorder(queue_size=1))
        new = started(recorder(now=NOW + 30))
        new.session_opened(info(1))
        new.flush()
        old.session_closed(session_id(2), at=NOW, code=1000, reason="")
        old.session_closed(session_id(3), at=NOW, code=1000, reason="")
        assert old.dropped == 1
        old.flush()
        assert open_ids() == {session_id(1)}

    def test_the_true_end_wins(self) -> None:
        """Of a session that has left the node and whose end is told a moment after."""
        subject = started(recorder(queue_size=1))
        opened("here", 1)
        subject.session_closed(session_id(2), at=NOW, code=1000, reason="")
        subject.session_closed(session_id(3), at=NOW, code=1000, reason="")
        subject.flush()
        assert Session.objects.get().close_code == LOST
        subject.session_closed(session_id(1), at=NOW + 9, code=4001, reason="no pong")
        subject.flush()
        row = Session.objects.get()
        assert (row.close_code, row.disconnected_at) == (4001, moment(NOW + 9))

    def test_an_end_that_the_database_refuses_is_one_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = started(recorder())
        opened("here", 1)

        def refuse(_: Sequence[Entry]) -> None:
            raise ValueError("never")

        with monkeypatch.context() as patch:
            patch.setattr(rows, "save", refuse)
            subject.session_closed(session_id(1), at=NOW, code=1000, reason="")
            subject.flush()
        assert subject.dropped == 1
        assert open_ids() == set()


def test_what_waits_is_told_while_the_thread_hangs() -> None:
    """The gauge asks; nothing has been written or attempted since."""
    subject = recorder()
    subject.start(thread=False)
    subject.session_opened(info(1))
    subject.session_opened(info(2))
    (family,) = metrics.RECORDER_PENDING.collect()
    assert [sample.value for sample in family.samples] == [2]


def test_a_node_that_takes_another_name_leaves_the_row_to_its_successor() -> None:
    subject = started(recorder(now=NOW - 100))
    for number in (1, 2):
        subject.session_opened(info(number))
    subject.flush()
    successor = started(recorder(now=NOW))
    assert Session.objects.filter(close_code=LOST).count() == 2, "it cannot know better"
    subject.rename("here~1234")
    for number in (1, 2):
        subject.session_opened(info(number, "here~1234"))
    subject.node_seen(NOW + 1)
    subject.flush()
    assert (
        Session.objects.filter(node="here~1234", disconnected_at=None, close_code=None).count() == 2
    )
    names = {node.name: node.started_at for node in Node.objects.all()}
    assert names == {"here": moment(NOW), "here~1234": moment(NOW - 100)}
    successor.stop(0)
    subject.stop(0)
    assert Node.objects.filter(stopped_at=None).count() == 0


def test_a_row_of_another_name_that_cannot_be_written_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = started(recorder())
    subject.rename("here~1234")

    def away(node: Node) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(rows, "save_node", away)
        with pytest.raises(OperationalError):
            subject.flush()
    subject.flush()
    assert Node.objects.filter(name="here~1234").exists()


def test_before_it_has_entered_it_enters_under_the_new_name() -> None:
    """The database was away when the successor came: its open rows are none of ours."""
    other = started(recorder(now=NOW))
    other.session_opened(info(7))
    other.flush()
    subject = recorder(now=NOW - 100)
    subject.start(thread=False)
    subject.rename("here~1234")
    subject.flush()
    assert Session.objects.get(id=session_id(7)).disconnected_at is None
    assert set(Node.objects.values_list("name", flat=True)) == {"here", "here~1234"}
