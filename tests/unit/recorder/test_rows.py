"""What was noted of sessions becomes rows."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.base import metrics
from sockets.codes import LOST, CloseCode
from sockets.models import Session
from sockets.recorder import rows
from sockets.types import Kind
from tests.unit.recorder.conftest import NOW, info, moment, recorder, session_id


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
