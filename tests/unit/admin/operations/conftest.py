"""The operations room over fixed values."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from sockets.admin.operations import known, overview, source
from tests.unit.admin.operations.values import FixedSource

ROOT = "/admin/sockets/"
VIEWS = ("view_overview", "view_session", "view_gatewayuser", "view_worker", "view_refusal")
DOES = (
    *("disconnect_session", "drain_node", "end_task", "block_gatewayuser", "revoke_gatewayuser"),
    *("notify_gatewayuser", "trace_gatewayuser", "trace_bodies_gatewayuser"),
)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> FixedSource:
    made = FixedSource()
    monkeypatch.setattr(known, "MEMORY", memory := known.Memory())
    monkeypatch.setattr(overview, "MEMORY", memory)
    for name in made.names:
        monkeypatch.setattr(source, name, getattr(made, name))
    return made


@pytest.fixture
def reader(staff: Callable[..., Client], fixed: FixedSource) -> Client:
    """Sees every page, and may do nothing."""
    return staff(*VIEWS)


@pytest.fixture
def operator(staff: Callable[..., Client], fixed: FixedSource) -> Client:
    return staff(*VIEWS, *DOES)


def allow(*permissions: str) -> None:
    """Give the one member of staff exactly these."""
    user = User.objects.get(username="staff")
    chosen = Permission.objects.filter(content_type__app_label="sockets", codename__in=permissions)
    assert len(chosen) == len(permissions)
    user.user_permissions.set(chosen)


def page(client: Client, path: str, status: int = 200, **query: Any) -> str:
    answer = client.get(path if path.startswith("/") else ROOT + path, query)
    assert answer.status_code == status, answer.content.decode()[:2_000]
    return answer.content.decode()


def words(text: str) -> str:
    """What of a page is read."""
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", text)).split())


def do(client: Client, path: str, **given: Any) -> list[str]:
    """Confirm an action; the messages of the page that follows, or what is wrong."""
    answer = client.post(ROOT + path, {"asked": "1", "confirmed": "1", **given}, follow=True)
    assert answer.status_code == 200, answer.content.decode()[:2_000]
    text = answer.content.decode()
    found = re.findall(r'<li class="(success|warning|error|info)">(.*?)</li>', text)
    wrong = re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', text, re.DOTALL)
    return [f"{tag}: {html.unescape(said)}" for tag, said in found] + [
        f"wrong: {words(one)}" for one in wrong
    ]
