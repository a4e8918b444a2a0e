"""The admin alone, under Django's own middleware: surfaces are another floor's matter."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import path

from sockets.codes import CloseCode
from sockets.exceptions import GatewayError
from sockets.models import Session
from sockets.types import Disconnected

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


class Urls:
    """What Django takes for a URL configuration."""

    urlpatterns = (path("admin/", admin.site.urls),)


@pytest.fixture(autouse=True)
def _admin_alone(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = Urls
    settings.TIME_ZONE = "UTC"
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]


StaffWith = Callable[..., Client]


@pytest.fixture
def staff(db: None) -> StaffWith:
    """A logged-in client of a staff member with exactly the given permissions."""

    def logged_in(*permissions: str) -> Client:
        user = User.objects.create_user("staff", is_staff=True)
        chosen = Permission.objects.filter(
            content_type__app_label="sockets", codename__in=permissions
        )
        assert len(chosen) == len(permissions)
        user.user_permissions.set(chosen)
        client = Client()
        client.force_login(user)
        return client

    return logged_in


def add_session(number: int = 1, **given: Any) -> Session:
    values: dict[str, Any] = {
        "id": f"01{number:024d}",
        "kind": "client",
        "user": f"user-{number}",
        "client_id": f"01CCCC{number:020d}",
        "node": "node-1",
        "address": f"10.0.0.{number}:5000",
        "connected_at": NOON,
    }
    return Session.objects.create(**values | given)


@pytest.fixture
def add() -> Callable[..., Session]:
    return add_session


LIST = "/admin/sockets/session/"


@pytest.fixture
def viewer(staff: Callable[..., Client]) -> Client:
    return staff("view_session")


def shown_ids(client: Client, query: str = "") -> list[int]:
    """The numbers of the sessions on the page, in its order; live and ended ones."""
    if "state=" not in query:
        query = f"{query}{'&' if query else '?'}state=all"
    page = client.get(LIST + query).content.decode()
    seen = re.findall(r'class="field-state[^"]*"><a href="[^"]*/session/01(\d+)/change/', page)
    return [int(number) for number in seen]


class RecordingApi(ModuleType):
    """Stands for `sockets.api`: notes the calls, answers as told."""

    def __init__(self) -> None:
        super().__init__("sockets.api")
        self.calls: list[tuple[str, CloseCode, str]] = []
        self.gone: set[str] = set()
        self.slow: set[str] = set()
        self.error: GatewayError | None = None
        self.recorder_writes = True

    def disconnect_sessions(
        self, session_ids: Iterable[str], *, code: CloseCode, reason: str
    ) -> dict[str, Disconnected]:
        if self.error is not None:
            raise self.error
        self.calls += [(id, code, reason) for id in session_ids]
        if self.recorder_writes:
            rows = Session.objects.filter(pk__in=set(session_ids) - self.slow)
            rows.update(disconnected_at=NOON, close_code=code, close_reason=reason)
        return {
            id: Disconnected(int(id not in self.slow), int(id in self.slow))
            for id in session_ids
            if id not in self.gone
        }


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> RecordingApi:
    recording = RecordingApi()
    monkeypatch.setitem(sys.modules, "sockets.api", recording)
    return recording


@pytest.fixture
def operator(staff: Callable[..., Client]) -> Client:
    return staff("view_session", "disconnect_session")


def disconnect(client: Client, *rows: Session, **given: Any) -> list[str]:
    """Choose the action, and confirm where that is asked; the messages of the page that follows."""
    response = client.post(
        LIST,
        {"action": "disconnect", "_selected_action": [row.pk for row in rows]} | given,
        follow=True,
    )
    assert response.status_code == 200
    asked = re.findall(r'name="session" value="(\w+)"', response.content.decode())
    if asked:
        return confirm(client, asked)
    return messages_of(response.content.decode())


def confirm(client: Client, sessions: list[str]) -> list[str]:
    """Say that these are to be disconnected; the messages of the page that follows."""
    given = {"asked": "1", "session": sessions, "from": "history", "code": 4504}
    reason = {"reason": "disconnected by an operator"}
    response = client.post("/admin/sockets/livesession/disconnect/", given | reason, follow=True)
    assert response.status_code == 200
    return messages_of(response.content.decode())


def messages_of(page: str) -> list[str]:
    """What a page says above its content, and what it found wrong."""
    found = re.findall(r'<li class="(\w+)">(.*?)</li>', page)
    found += [("error", text) for text in re.findall(r"errorlist nonfield.*?<li>(.*?)</li>", page)]
    return [f"{tag}: {html.unescape(text)}" for tag, text in found]
