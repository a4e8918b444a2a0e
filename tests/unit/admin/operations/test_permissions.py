"""Who may see and do what: each page, its JSON and each action, by kind of person."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern

from sockets.admin import (
    GatewayUserAdmin,
    LiveSessionAdmin,
    OverviewAdmin,
    RefusalAdmin,
    WorkerAdmin,
)
from sockets.admin.operations.page import Page
from tests.unit.admin.operations.conftest import DOES, ROOT, VIEWS, allow
from tests.unit.admin.operations.values import FixedSource, session_id

SESSION = f"livesession/{session_id(1)}"
LOOKS = {
    "overview/": "view_overview",
    "overview/data/": "view_overview",
    "overview/data/?after=1": "view_overview",
    "overview/data/?small=1": "view_overview",
    "livesession/": "view_session",
    "livesession/data/": "view_session",
    f"{SESSION}/change/": "view_session",
    f"{SESSION}/data/": "view_session",
    "gatewayuser/": "view_gatewayuser",
    "gatewayuser/?user=user-1": "view_gatewayuser",
    "gatewayuser/data/?user=user-1": "view_gatewayuser",
    "gatewayuser/why/?user=user-1&what=offset&message=41": "view_gatewayuser",
    "worker/": "view_worker",
    "worker/data/": "view_worker",
    "refusal/": "view_refusal",
    "refusal/data/": "view_refusal",
}
"""What is looked at, with its permission."""

TRACE = ("gatewayuser/trace/?user=user-1", "gatewayuser/trace/data/?user=user-1")
ACTIONS = {
    f"livesession/disconnect/?session={session_id(1)}": ("view_session", "disconnect_session"),
    "gatewayuser/disconnect/?user=user-1": ("view_gatewayuser", "disconnect_session"),
    "gatewayuser/block/?user=user-1": ("view_gatewayuser", "block_gatewayuser"),
    "gatewayuser/unblock/?user=user-1": ("view_gatewayuser", "block_gatewayuser"),
    "gatewayuser/revoke/?user=user-1": ("view_gatewayuser", "revoke_gatewayuser"),
    "gatewayuser/notify/?user=user-1": ("view_gatewayuser", "notify_gatewayuser"),
    "gatewayuser/begin/?user=user-1": ("view_gatewayuser", "trace_gatewayuser"),
    "gatewayuser/end/?user=user-1": ("view_gatewayuser", "trace_gatewayuser"),
    f"worker/cancel/?task={session_id(1)}": ("view_worker", "end_task"),
    f"worker/release/?task={session_id(1)}": ("view_worker", "end_task"),
    "overview/drain/?node=node-1": ("view_overview", "drain_node"),
}
"""What is done, with the permissions of its page and its own."""

CONFIRMED = {
    **{"asked": "1", "confirmed": "1", "code": "4504", "reason": "", "length": "", "keep": ""},
    **{"event": "e", "content": "1", "minutes": "5"},
}


def post(client: Client, path: str) -> int:
    """The status of an action that is confirmed; what it is about is in its address."""
    bare, _, query = path.partition("?")
    name, _, value = query.partition("=")
    answer = client.post(ROOT + bare, {**CONFIRMED, name: value})
    assert answer.status_code in (302, 403), answer.content.decode()
    return answer.status_code


def test_the_lists_above_name_every_address() -> None:
    """A new page or action must be in one of them."""
    pages: list[type[Page]] = [
        *(OverviewAdmin, LiveSessionAdmin, GatewayUserAdmin, WorkerAdmin, RefusalAdmin)
    ]
    from django.contrib import admin

    routes: set[str] = set()
    for model, shown_by in admin.site._registry.items():
        if isinstance(shown_by, tuple(pages)):
            urls: list[URLPattern] = shown_by.get_urls()
            routes |= {f"{model._meta.model_name}/{url.pattern}" for url in urls}
    named = {path.partition("?")[0] for path in (*LOOKS, *TRACE, *ACTIONS)}
    named = {path.replace(session_id(1), "<path:object_id>") for path in named}
    leads = {f"{name}/<path:object_id>/change/" for name in ("overview", "gatewayuser")}
    leads |= {f"{name}/<path:object_id>/change/" for name in ("worker", "refusal")}
    assert routes == named | leads
    assert not routes & leads - leads


@pytest.mark.parametrize("path", [*LOOKS, *TRACE, *ACTIONS])
def test_a_stranger_is_sent_to_the_login(db: None, fixed: FixedSource, path: str) -> None:
    answer = Client().get(ROOT + path)
    assert answer.status_code == 302 and "/admin/login/" in answer["Location"]
    assert not fixed.calls


@pytest.mark.parametrize("path", [*LOOKS, *TRACE, *ACTIONS])
def test_without_a_permission_nothing_is_seen(
    staff: Callable[..., Client], fixed: FixedSource, path: str
) -> None:
    assert staff().get(ROOT + path).status_code == 403
    assert not fixed.calls, "nothing was asked either"


@pytest.mark.parametrize("path", LOOKS)
def test_each_page_needs_its_own(
    staff: Callable[..., Client], fixed: FixedSource, path: str
) -> None:
    client = staff(LOOKS[path])
    assert client.get(ROOT + path).status_code == 200
    allow(*[name for name in (*VIEWS, *DOES) if name != LOOKS[path]])
    assert client.get(ROOT + path).status_code == 403


@pytest.mark.parametrize("path", TRACE)
def test_a_trace_needs_one_of_its_own(reader: Client, path: str) -> None:
    assert reader.get(ROOT + path).status_code == 403
    allow("view_gatewayuser", "trace_gatewayuser")
    assert reader.get(ROOT + path).status_code == 200


@pytest.mark.parametrize("path", ACTIONS)
def test_read_only_staff_can_do_nothing(reader: Client, fixed: FixedSource, path: str) -> None:
    assert reader.get(ROOT + path).status_code == 403
    assert post(reader, path) == 403
    assert not fixed.done()


@pytest.mark.parametrize("path", ACTIONS)
def test_each_action_needs_both_of_its_permissions(
    operator: Client, fixed: FixedSource, path: str
) -> None:
    for missing in ACTIONS[path]:
        allow(*[name for name in (*VIEWS, *DOES) if name != missing])
        assert operator.get(ROOT + path).status_code == 403
        assert post(operator, path) == 403
    assert not fixed.done()
    allow(*ACTIONS[path])
    assert operator.get(ROOT + path).status_code == 200
    assert not fixed.done(), "a look does nothing"
    assert post(operator, path) == 302
    assert len(fixed.done()) == 1


@pytest.mark.parametrize("path", ACTIONS)
def test_superusers_may(db: None, fixed: FixedSource, path: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("chief", "a@b.test", "x"))
    assert client.get(ROOT + path).status_code == 200
    assert post(client, path) == 302 and len(fixed.done()) == 1


@pytest.mark.parametrize("path", ACTIONS)
def test_no_other_page_can_do_it(operator: Client, fixed: FixedSource, path: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert post(strict, path) == 403
    assert not fixed.done()
    text = strict.get(ROOT + path).content.decode()
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', text.split("<form")[-1])
    bare, _, query = path.partition("?")
    name, _, value = query.partition("=")
    given = {**CONFIRMED, name: value, "csrfmiddlewaretoken": token}
    assert strict.post(ROOT + bare, given).status_code == 302
    assert len(fixed.done()) == 1


@pytest.mark.parametrize("path", ACTIONS)
def test_only_a_post_does_something(operator: Client, fixed: FixedSource, path: str) -> None:
    for method in (operator.put, operator.delete, operator.patch):
        answer = method(ROOT + path)
        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, POST")
    assert operator.get(f"{ROOT}{path}&asked=1&confirmed=1").status_code == 200
    assert not fixed.done()


@pytest.mark.parametrize("path", ACTIONS)
def test_read_only_pages_offer_no_action(reader: Client, fixed: FixedSource, path: str) -> None:
    bare = path.partition("?")[0]
    for look in LOOKS:
        assert bare not in reader.get(ROOT + look).content.decode()


def test_the_index_shows_the_pages_that_may_be_seen(
    staff: Callable[..., Client], fixed: FixedSource
) -> None:
    client = staff("view_worker")
    text = client.get("/admin/").content.decode()
    assert 'href="/admin/sockets/worker/"' in text
    assert "/admin/sockets/overview/" not in text and "/admin/sockets/refusal/" not in text
    tabs = client.get(f"{ROOT}worker/").content.decode().partition("gateway-tabs")[2]
    assert re.findall(r'href="/admin/sockets/(\w+)/"', tabs.partition("</nav>")[0]) == ["worker"]
