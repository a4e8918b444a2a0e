"""The admin in another project: at a site of its own, with titles and a base of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.test import Client
from django.urls import path, resolve

from sockets.admin import SessionAdmin, register
from sockets.models import (
    AccessKey,
    GatewayUser,
    LiveSession,
    Node,
    Overview,
    Refusal,
    Session,
    Worker,
)
from tests.unit.admin.conftest import StaffWith


class ShopSite(admin.AdminSite):
    site_header = "The shop"
    site_title = "Shop"
    index_title = "All of it"


site = ShopSite(name="shop")
register(site)


class Urls:
    """Of a project that has both, the default one first."""

    urlpatterns = (path("admin/", admin.site.urls), path("back-office/", site.urls))


@pytest.fixture
def client(staff: StaffWith, settings: LazySettings) -> Client:
    settings.ROOT_URLCONF = Urls
    keys = ("add_accesskey", "view_accesskey")
    return staff("view_session", "disconnect_session", "view_node", *keys)


def test_it_registers_all_that_the_default_site_has() -> None:
    """Rule 15."""
    ours = {model for model in admin.site._registry if model._meta.app_label == "sockets"}
    of_the_room = {Overview, LiveSession, GatewayUser, Worker, Refusal}
    assert set(site._registry) == ours == {Session, Node, AccessKey} | of_the_room


@pytest.mark.parametrize("page", ["session/", "node/", "accesskey/add/"])
def test_its_pages_have_the_titles_of_the_shop(client: Client, page: str) -> None:
    """Rule 15."""
    answer = client.get(f"/back-office/sockets/{page}")
    text = answer.content.decode()
    assert answer.status_code == 200 and "The shop" in text
    assert 'href="/admin/' not in text


def test_a_sessions_own_page_and_its_button(client: Client, add: Callable[..., Session]) -> None:
    """Rule 15: at the site that was asked."""
    row = add()
    page = client.get(f"/back-office/sockets/session/{row.pk}/change/").content.decode()
    there = "/back-office/sockets/livesession/"
    assert f'href="{there}{row.pk}/change/"' in page
    assert f'href="{there}disconnect/?session={row.pk}' in page


def test_a_key_is_made_at_the_site_that_was_asked(client: Client) -> None:
    """Rule 15: also the page that shows the secret, whose links would lead to the other site."""
    made = client.post("/back-office/sockets/accesskey/add/", {"name": "k", "plain": ["notify"]})
    text = made.content.decode()
    assert made.status_code == 200 and "gw_" in text and "The shop" in text
    assert 'href="/back-office/sockets/accesskey/"' in text and 'href="/admin/' not in text


@pytest.mark.parametrize("root", ["admin", "back-office"])
def test_its_pages_stand_in_the_base_of_the_shop(
    client: Client,
    settings: LazySettings,
    tmp_path: Path,
    add: Callable[..., Session],
    root: str,
) -> None:
    """Rule 15: ours extend the base template of a project."""
    base = tmp_path / "admin" / "base_site.html"
    base.parent.mkdir()
    base.write_text(
        '{% extends "admin/base.html" %}{% block footer %}<p>OWN FOOTER</p>{% endblock %}'
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    pages = ("session/", f"session/{add().pk}/change/", "node/", "accesskey/", "accesskey/add/")
    for page in pages:
        answer = client.get(f"/{root}/sockets/{page}")
        assert "OWN FOOTER" in answer.content.decode(), page
    made = client.post(f"/{root}/sockets/accesskey/add/", {"name": "k", "plain": ["notify"]})
    assert "OWN FOOTER" in made.content.decode() and "gw_" in made.content.decode()


@pytest.mark.parametrize(
    "page", ["session/", "livesession/disconnect/", "overview/data/", "gatewayuser/"]
)
def test_a_page_that_waits_is_in_no_transaction(client: Client, page: str) -> None:
    """Rule 15: under ATOMIC_REQUESTS it would never see what it waits for, or hold it for long."""
    view = resolve(f"/back-office/sockets/{page}").func
    assert view._non_atomic_requests == {"default"}  # type: ignore[attr-defined]


def test_a_site_of_the_history_alone_where_none_is_kept(
    client: Client, settings: LazySettings
) -> None:
    """It leads nowhere, and not round in a circle."""
    other = admin.AdminSite(name="alone")
    other.register(Session, SessionAdmin)

    class Urls:
        urlpatterns = (path("alone/", other.urls),)

    settings.ROOT_URLCONF = Urls
    settings.GATEWAY = settings.GATEWAY | {"history": False}
    assert client.get("/alone/sockets/session/").status_code == 404


def test_what_a_site_has_stays() -> None:
    class Own(SessionAdmin):
        pass

    other = admin.AdminSite(name="other")
    other.register(Session, Own)
    register(other)
    register(other)
    assert type(other._registry[Session]) is Own and other.is_registered(Node)
