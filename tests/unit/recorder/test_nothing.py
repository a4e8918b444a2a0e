"""Rule 16: a gateway that keeps no history writes no row and has no thread for it."""

from __future__ import annotations

import threading

import pytest

from sockets.models import Node, Session
from sockets.recorder import NoRecorder, SessionRecorder
from tests.support.doubles import NOON, StillNode, info


@pytest.mark.django_db
def test_it_takes_every_note_and_writes_nothing() -> None:
    """Rule 16."""
    before = threading.active_count()
    recorder: SessionRecorder = NoRecorder()
    recorder.start(client_url="", worker_url="", version="")
    recorder.session_opened(info(id="01ARZ3NDEKTSV4RRFFQ69G5FAV"))
    recorder.node_seen(NOON)
    recorder.rename("there")
    recorder.node_died("other", started=NOON, at=NOON)
    recorder.session_closed("01ARZ3NDEKTSV4RRFFQ69G5FAV", at=NOON, code=1000, reason="")
    assert threading.active_count() == before
    assert recorder.stop(0)
    assert not Session.objects.exists() and not Node.objects.exists()


async def test_the_setting_chooses_it() -> None:
    """Rule 16: history=False."""
    for history in (True, False):
        made = type(StillNode(history=history)._recorder())
        assert (made is NoRecorder) is not history
