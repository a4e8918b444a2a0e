"""The admin alone, under Django's own middleware: surfaces are another floor's matter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import path

from sockets.models import Session

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
