"""Sessions that were told to close are shown so, until the recorder has their end."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from sockets.admin import closing
from sockets.exceptions import GatewayUnreachable
from sockets.models import Session
from tests.unit.admin.conftest import LIST, NOON, RecordingApi, disconnect, shown_ids


class Recorder:
    """Stands for the pauses of a page that waits: after so many of them the rows are written."""

    def __init__(self, after: int) -> None:
        self.now, self.left, self.slept = 1_000.0, after, 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return NOON.timestamp() + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self.left -= 1
        if self.left == 0:
            Session.objects.filter(disconnected_at=None).update(disconnected_at=NOON)


def states(client: Client) -> list[str]:
    """What the list says of its sessions."""
    return re.findall(
        r'"gateway-badge \w+">(\w+)<', client.get(f"{LIST}?state=all").content.decode()
    )


class TestClosing:
    """After the action no row says *live*: its end is there, or is said to come."""

    def recorder(self, api: RecordingApi, monkeypatch: pytest.MonkeyPatch, after: int) -> Recorder:
        api.recorder_writes = False
        recorder = Recorder(after)
        monkeypatch.setattr(closing, "time", recorder)
        return recorder

    def test_the_page_waits_for_the_recorder(
        self,
        operator: Client,
        api: RecordingApi,
        add: Callable[..., Session],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        recorder = self.recorder(api, monkeypatch, after=5)
        disconnect(operator, *[add(number) for number in range(50)])
        assert states(operator) == ["ended"] * 50
        assert recorder.left == 0

    def test_but_not_for_ever_and_says_then_what_is_true(
        self,
        operator: Client,
        api: RecordingApi,
        add: Callable[..., Session],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        recorder = self.recorder(api, monkeypatch, after=-1)
        rows = [add(number) for number in range(3)]
        disconnect(operator, *rows[:2])
        assert 0 < recorder.slept <= closing.LONGEST_WAIT
        assert states(operator) == ["live", "closing", "closing"]
        page = operator.get(f"{LIST}{rows[0].id}/change/").content.decode()
        assert ">closing</span>" in page and "gateway-tool" not in page
        assert shown_ids(operator, "?state=live") == [2, 1, 0]
        recorder.now += closing.SHOWN + 1
        assert states(operator) == ["live"] * 3

    def test_those_that_are_gone_or_do_not_answer_are_closing_too(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        gone, slow = add(1), add(2)
        api.recorder_writes, api.gone, api.slow = False, {gone.id}, {slow.id}
        disconnect(operator, gone, slow)
        assert states(operator) == ["closing"] * 2

    def test_they_are_found_as_others_are(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        api.recorder_writes = False
        row = add(1, address="[::ffff:10.0.0.1]:5000")
        disconnect(operator, row)
        assert shown_ids(operator, "?q=10.0.0.1:5000&state=live") == [1]

    def test_what_failed_is_live(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        api.error = GatewayUnreachable()
        disconnect(operator, add(1))
        assert states(operator) == ["live"]

    def test_what_a_login_remembers_is_bounded(
        self,
        operator: Client,
        api: RecordingApi,
        add: Callable[..., Session],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.recorder(api, monkeypatch, after=-1)
        monkeypatch.setattr(closing, "MOST", 2)
        for row in [add(number) for number in range(3)]:
            disconnect(operator, row)
        assert len(operator.session["gateway_closing"]) == 2
        assert states(operator) == ["closing", "closing", "live"]
