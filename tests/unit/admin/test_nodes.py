"""The list of nodes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from django.utils.formats import reset_format_cache

from sockets.models import Node, Session
from tests.unit.admin.conftest import NOON

LIST = "/admin/sockets/node/"


def add_node(name: str, **given: object) -> Node:
    now = timezone.now()
    values: dict[str, object] = {"started_at": now, "seen_at": now, "pid": 7}
    return Node.objects.create(name=name, **values | given)


@pytest.fixture
def viewer(staff: Callable[..., Client]) -> Client:
    return staff("view_node", "view_session")


@pytest.mark.parametrize(
    ("seen", "stopped", "word"),
    [(1, None, "up"), (3_600, None, "silent"), (3_600, 3_600, "stopped")],
)
def test_up_silent_or_stopped(viewer: Client, seen: int, stopped: int | None, word: str) -> None:
    now = timezone.now()
    add_node(
        "n",
        seen_at=now - timedelta(seconds=seen),
        stopped_at=None if stopped is None else now - timedelta(seconds=stopped),
    )
    page = viewer.get(LIST).content.decode()
    assert [state for state in ("up", "silent", "stopped") if f">{state}</span>" in page] == [word]


def test_live_sessions_are_counted_and_linked(
    viewer: Client,
    add: Callable[..., Session],
    django_assert_max_num_queries: Callable[[int], AbstractContextManager[object]],
) -> None:
    add_node("node/1 &co", client_url="ws://c:4000/", version="1.2.3")
    add_node("idle")
    add(1, node="node/1 &co")
    add(2, node="node/1 &co", user="the-second")
    add(3, node="node/1 &co", disconnected_at=timezone.now())
    add(4, node="elsewhere")
    with django_assert_max_num_queries(8):
        page = viewer.get(LIST).content.decode()
    link = "/admin/sockets/session/?node=node%2F1+%26co&amp;state=live"
    assert f'<a href="{link}">2</a>' in page
    assert ">0</a>" in page
    assert "ws://c:4000/" in page
    sessions = viewer.get(link.replace("&amp;", "&")).content.decode()
    assert "the-second" in sessions
    assert "2 sessions" in sessions


def test_moments_have_seconds_and_their_zone_whatever_formats_a_project_has(
    viewer: Client, settings: LazySettings
) -> None:
    settings.FORMAT_MODULE_PATH, settings.TIME_ZONE = None, "Asia/Seoul"
    reset_format_cache()
    add_node("n", started_at=NOON)
    for page in (LIST, f"{LIST}n/change/"):
        assert "2026-03-04 21:00:00 KST" in viewer.get(page).content.decode()
    reset_format_cache()


def test_read_only(viewer: Client) -> None:
    add_node("n")
    assert viewer.get(LIST + "n/change/").status_code == 200
    assert viewer.get(LIST + "add/").status_code == 403
    assert viewer.post(LIST + "n/change/", {"version": "9"}).status_code == 403
    assert viewer.post(LIST + "n/delete/", {"post": "yes"}).status_code == 403
    assert Node.objects.get().version == ""


def test_not_without_permission(staff: Callable[..., Client]) -> None:
    assert staff().get(LIST).status_code == 403


def test_a_node_goes_by_the_clock_that_all_nodes_share(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process' own is five minutes ahead."""
    shared = timezone.now() - timedelta(minutes=5)
    add_node("n", seen_at=shared - timedelta(seconds=1))
    here = SimpleNamespace(store_time=lambda: shared.timestamp())
    monkeypatch.setattr("sockets.admin.nodes.current_node", lambda: here)
    assert ">up</span>" in viewer.get(LIST).content.decode()
