"""The overview in small, on the index of an admin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.test import Client
from django.urls import path

from sockets.admin import register
from tests.unit.admin.conftest import Urls, staff  # a fixture

__all__ = ["staff"]

shop = admin.AdminSite(name="shop")
register(shop)
bare = admin.AdminSite(name="bare")


class Both:
    """The default site, and two of a shop: with our pages, and without."""

    urlpatterns = (
        *Urls.urlpatterns,
        path("back-office/", shop.urls),
        path("bare/", bare.urls),
    )


@pytest.fixture(autouse=True)
def _sites(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = Both
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]


@pytest.mark.parametrize(
    ("index", "root"),
    [
        ("/admin/", "/admin/"),
        ("/admin/sockets/", "/admin/"),
        ("/back-office/sockets/", "/back-office/"),
    ],
)
def test_it_is_on_our_index_and_on_the_apps_own(
    staff: Callable[..., Client], index: str, root: str
) -> None:
    text = staff("view_overview").get(index).content.decode()
    assert f'data-url="{root}sockets/overview/data/?small=1"' in text
    assert f'href="{root}sockets/overview/"' in text, "without a script"


def test_not_on_the_index_of_a_shop(staff: Callable[..., Client]) -> None:
    assert "gateway-room" not in staff("view_overview").get("/back-office/").content.decode()


@pytest.mark.parametrize("index", ["/admin/", "/admin/sockets/"])
def test_not_for_whoever_may_not_see_it(staff: Callable[..., Client], index: str) -> None:
    answer = staff("view_node").get(index)
    assert answer.status_code == 200 and "gateway-room" not in answer.content.decode()


def test_a_site_without_our_pages_has_none(
    staff: Callable[..., Client], settings: LazySettings
) -> None:
    bare.index_template = "admin/sockets/index.html"
    settings.ROOT_URLCONF = type("Only", (), {"urlpatterns": (path("bare/", bare.urls),)})
    answer = staff("view_overview").get("/bare/")
    assert answer.status_code == 200 and "gateway-room" not in answer.content.decode()
