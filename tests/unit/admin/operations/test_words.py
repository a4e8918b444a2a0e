"""Values in the reader's words."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.utils.formats import reset_format_cache
from django.utils.translation import override

from sockets.admin.operations import words
from sockets.admin.operations.parts import Cell
from sockets.reports import Health
from sockets.types import Kind, PresenceState, TaskState
from tests.unit.admin.operations.values import NOW, node


def test_every_state_has_its_word() -> None:
    assert set(words.HEALTH) == set(Health)
    assert set(words.PRESENCE) == set(PresenceState)
    assert set(words.TASKS) == set(TaskState)
    assert set(words.KINDS) == set(Kind)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (9_999, "9,999 B"), (10_000, "10 kB"), (412_000_000, "412 MB")],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0, "0.0 ms"), (0.0312, "31.2 ms"), (0.5, "500 ms"), (2.5, "2,500 ms")],
)
def test_time_spans(seconds: float | None, text: str) -> None:
    assert words.milliseconds(seconds) == text


@pytest.mark.parametrize(
    ("code", "cell"),
    [
        (4501, Cell("unauthorized", below="4501")),
        (3777, Cell("3777", below="3777")),
        (403, Cell("HTTP 403")),
        (0, Cell("cut")),
    ],
)
def test_close_codes(code: int, cell: Cell) -> None:
    assert words.closed_by(code) == cell


@pytest.mark.parametrize(
    ("state", "lost", "answered", "word"),
    [
        ("ready", False, True, "ready"),
        ("draining", False, True, "draining"),
        ("redis is away", False, True, "redis is away"),
        ("ready", False, False, "silent"),
        ("ready", True, False, "lost"),
    ],
)
def test_nodes(state: str, lost: bool, answered: bool, word: str) -> None:
    assert words.node_state(node(state=state), lost=lost, answered=answered).text == word


def test_moments(settings: LazySettings) -> None:
    settings.TIME_ZONE = "Asia/Seoul"
    assert words.at(NOW) == "2026-03-04 21:00:00 KST"
    assert words.at(None) == ""
    assert words.clock(NOW + 0.25) == "21:00:00.250"
    assert words.since(NOW) == Cell(since=NOW, title="2026-03-04 21:00:00 KST")


def test_moments_in_a_project_with_formats_of_its_own(settings: LazySettings) -> None:
    settings.TIME_ZONE, settings.FORMAT_MODULE_PATH = "Asia/Seoul", None
    reset_format_cache()
    with override("en"):
        assert words.at(NOW + 7) == "2026-03-04 21:00:07 KST"
    reset_format_cache()


def test_moments_of_a_project_without_zones(settings: LazySettings) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "UTC"
    assert words.clock(NOW) == "12:00:00.000"
    assert words.at(NOW) == "2026-03-04 12:00:00 UTC"
    assert words.zone() == "UTC"


@pytest.mark.parametrize("seconds", [1_772_625_600_000.0, 1e15, 1e300, -1e12])
def test_what_is_no_date_is_shown_as_it_is(seconds: float) -> None:
    """A token whose `exp` is in milliseconds broke the page of its session."""
    for text in (words.at(seconds), words.clock(seconds), words.since(seconds).title):
        assert text == f"no date: {seconds:.15g}"
    assert words.at(float("nan")) == "no date: nan"
    assert words.since(seconds).lapsed
