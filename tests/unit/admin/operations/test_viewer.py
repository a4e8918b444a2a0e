"""Who looks: names of users, and links."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from sockets.admin.operations.parts import Cell
from sockets.admin.operations.viewer import Viewer, address, names_of
from tests.unit.admin.operations.values import CHROME, NASTY


def viewer(*permissions: str) -> Viewer:
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(  # type: ignore[assignment]
        has_perm=lambda name: name.removeprefix("sockets.") in permissions
    )
    return Viewer(admin.site, request)


@pytest.fixture
def own_project(settings: LazySettings) -> None:
    """User ids are the keys of Django's users."""
    settings.GATEWAY = settings.GATEWAY | {"sessions": "project"}


def add(name: str, **given: Any) -> str:
    return str(User.objects.create_user(name, **given).pk)


@pytest.mark.django_db
@pytest.mark.usefixtures("own_project")
def test_one_query_for_all_names() -> None:
    kim, lee = add("kim", first_name="Kim", last_name="Minji"), add("lee")
    strange = {"", "x", "-1", "01", f"{kim}.0", "9" * 40, NASTY, "é", f" {kim}"}
    with CaptureQueriesContext(connection) as asked:
        found = names_of({kim, lee, "999999", *strange, *(f"a-{n}" for n in range(300))})
    assert found == {kim: "Kim Minji", lee: "lee"}
    assert len(asked) == 1
    with CaptureQueriesContext(connection) as asked:
        assert names_of({"x"}) == names_of(set()) == {}
    assert not asked


@pytest.mark.django_db
def test_ids_of_another_project_are_other_people(settings: LazySettings) -> None:
    """Id 1 of the API server is not user 1 of our admin; where its logins count, it is."""
    kim = add("kim")
    settings.GATEWAY = settings.GATEWAY | {"sessions": "tables", "auth": ("jwt",)}
    assert names_of({kim}) == {}
    settings.GATEWAY = settings.GATEWAY | {"sessions": "tables", "auth": ("jwt", "session")}
    assert names_of({kim}) == {kim: "kim"}


@pytest.mark.django_db
@pytest.mark.usefixtures("own_project")
def test_a_user_has_name_id_and_a_page() -> None:
    kim = add("kim", first_name=NASTY[:100])
    looks = viewer("view_gatewayuser")
    looks.know([kim])
    cell = looks.user(kim, "client")
    assert "\x1b" not in cell.text and cell.below == f"{kim} · client"
    assert cell.href == f"/admin/sockets/gatewayuser/?user={kim}"
    assert viewer().user(kim).href == "", "who may not see the page has no link to it"


def test_links_lead_to_any_id() -> None:
    looks = viewer("view_gatewayuser", "view_session")
    assert looks.user("../?&=#/한").href.endswith("?user=..%2F%3F%26%3D%23%2F%ED%95%9C")
    assert looks.session("01AB").href == "/admin/sockets/livesession/01AB/change/"
    assert viewer().session("01AB").href == ""
    assert looks.url("nothing_like_it") == ""


def test_where_a_session_comes_from(staff: Callable[..., Any]) -> None:
    assert address("10.0.0.1:5", CHROME) == Cell(
        "10.0.0.1:5", below="Chrome on Windows", title=CHROME
    )
    assert address("", "own/1.0").below == "own/1.0"
    assert "\x1b" not in address("", NASTY).below + address("", NASTY).title
