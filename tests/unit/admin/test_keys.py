"""Keys in the admin: made, shown once, ended; and what a browser can be told of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from sockets.admin import keys
from sockets.auth.key_rows import live_keys, make_key
from sockets.auth.keys import hash_of
from sockets.models import AccessKey

LIST = "/admin/sockets/accesskey/"
NEW = f"{LIST}add/"
EVERY = ("view_accesskey", "add_accesskey", "change_accesskey", "delete_accesskey")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Whenever the node of this process is told."""
    calls: list[None] = []
    monkeypatch.setattr(keys, "keys_changed", lambda: calls.append(None))
    return calls


@pytest.fixture
def chief(staff: Callable[..., Client]) -> Client:
    return staff(*EVERY)


def wanted(**given: Any) -> dict[str, Any]:
    return {"name": "shop", "plain": ["notify"], "pools": "a b", **given}


def test_the_secret_is_shown_once(chief: Client, hurried: list[None]) -> None:
    answer = chief.post(NEW, wanted())
    assert answer.status_code == 200
    (secret,) = re.findall(r"gw_[a-z2-7]{8}_[\w-]{43}", answer.content.decode())
    row = AccessKey.objects.get()
    assert row.hash == hash_of(secret)
    assert row.scopes == "notify tasks:a tasks:b"
    assert hurried, "this node knows it at once"
    assert "no-store" in answer["Cache-Control"]
    assert secret not in str(answer.cookies), "nothing of it waits in a cookie"
    for path in (LIST, f"{LIST}{row.id}/change/", f"{LIST}{row.id}/history/", "/admin/"):
        page = chief.get(path).content.decode()
        assert secret not in page and row.hash not in page
    (entry,) = LogEntry.objects.all()
    assert secret not in str(entry.__dict__)
    assert entry.object_id == row.id


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "a b"}, "A name has 1 to 64"),
        ({"plain": [], "pools": ""}, "may do nothing"),
        ({"plain": ["root"]}, "not one of the available choices"),
        ({"pools": "a/b"}, "a/b is no name of a pool"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "has passed"),
    ],
)
def test_a_wrong_key_is_not_made(
    chief: Client, hurried: list[None], given: dict[str, Any], said: str
) -> None:
    assert said in chief.post(NEW, wanted(**given)).content.decode()
    assert not AccessKey.objects.exists()


def test_only_its_end_can_be_changed(chief: Client, hurried: list[None]) -> None:
    row, _ = make_key("shop", ["notify"])
    page = chief.get(f"{LIST}{row.id}/change/").content.decode()
    assert set(re.findall(r'<input[^>]* name="(\w+)"', page)) & {"name", "scopes", "hash"} == set()
    end = {"expires_at_0": "2099-01-01", "expires_at_1": "00:00:00"}
    chief.post(f"{LIST}{row.id}/change/", {"name": "x", "scopes": "admin", "hash": "0", **end})
    row.refresh_from_db()
    assert (row.name, row.scopes) == ("shop", "notify")
    assert row.expires_at is not None and row.expires_at.year == 2099
    assert hurried


@pytest.mark.parametrize("state", ["expired", "ended"])
def test_what_is_over_stays_so(chief: Client, hurried: list[None], state: str) -> None:
    row, _ = make_key("shop", ["notify"])
    past = timezone.now() - timedelta(days=1)
    AccessKey.objects.update(**{f"{state.replace('expired', 'expires')}_at": past})
    answer = chief.post(
        f"{LIST}{row.id}/change/", {"expires_at_0": "2099-01-01", "expires_at_1": "00:00:00"}
    )
    assert answer.status_code == 403
    assert not live_keys().exists()


def test_keys_are_ended(chief: Client, hurried: list[None]) -> None:
    rows = [make_key(name, ["notify"])[0] for name in ("a", "b", "c")]
    chosen = [row.id for row in rows[:2]]
    for expected in ("2 keys have ended", "None of these keys is live"):
        answer = chief.post(LIST, {"action": "end", "_selected_action": chosen}, follow=True)
        assert expected in answer.content.decode()
    assert {row.name: row.state for row in AccessKey.objects.all()} == {
        "a": "ended",
        "b": "ended",
        "c": "live",
    }
    assert hurried
    assert {entry.change_message for entry in LogEntry.objects.all()} == {"Ended"}


def test_the_list_and_its_filter(chief: Client) -> None:
    make_key("live-one", ["notify", "tasks:image.convert"])
    old, _ = make_key("old-one", ["notify"])
    AccessKey.objects.filter(id=old.id).update(expires_at=timezone.now())
    every, live, over = (
        chief.get(LIST + query).content.decode() for query in ("", "?state=live", "?state=over")
    )
    assert "live-one" in every and "old-one" in every and "notify tasks:image.convert" in every
    assert "live-one" in live and "old-one" not in live
    assert "live-one" not in over and "old-one" in over


@pytest.mark.parametrize("right", ["view_accesskey", "delete_accesskey"])
def test_who_may_only_look_ends_nothing(
    staff: Callable[..., Client], hurried: list[None], right: str
) -> None:
    row, _ = make_key("shop", ["notify"])
    client = staff("view_accesskey", *({right} - {"view_accesskey"}))
    assert client.get(LIST).status_code == 200
    assert client.post(NEW, wanted()).status_code == 403
    client.post(LIST, {"action": "end", "_selected_action": [row.id]})
    client.post(LIST, {"action": "delete_selected", "_selected_action": [row.id], "post": "yes"})
    assert client.post(f"{LIST}{row.id}/delete/", {"post": "yes"}).status_code == 403
    assert live_keys().count() == AccessKey.objects.count() == 1
    assert not hurried
