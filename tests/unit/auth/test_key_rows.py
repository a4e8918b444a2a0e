"""Keys in the database, and the commands that make and end them."""

from __future__ import annotations

import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from sockets.auth import key_rows
from sockets.auth.key_rows import end_keys, live_keys, load, make_key, note_used
from sockets.auth.keys import hash_of, id_in
from sockets.base import audit
from sockets.models import AccessKey

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The audit log."""
    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(audit, "record", lambda kind, /, **more: told.append((kind.value, more)))
    return told


def test_a_key_is_kept_as_its_hash() -> None:
    row, secret = make_key("shop", ["presence", "notify"])
    assert id_in(secret) == row.id
    kept = AccessKey.objects.get(id=row.id)
    assert kept.hash == hash_of(secret)
    assert kept.scopes == "notify presence"
    assert secret not in str(kept.__dict__)
    key = load()[row.id]
    assert (key.name, set(key.scopes), key.hash) == ("shop", {"notify", "presence"}, kept.hash)
    assert key.expires_at is None


def test_what_does_not_count_is_not_loaded() -> None:
    live, _ = make_key("live", ["notify"], expires_at=timezone.now() + DAY)
    old, _ = make_key("old", ["notify"])
    AccessKey.objects.filter(id=old.id).update(expires_at=timezone.now())
    over, _ = make_key("over", ["notify"])
    assert [row.id for row in end_keys(live_keys().filter(name="over"))] == [over.id]
    assert set(load()) == {live.id}
    assert load()[live.id].expires_at == pytest.approx(time.time() + 86_400, abs=60)
    states = {row.name: row.state for row in AccessKey.objects.all()}
    assert states == {"live": "live", "old": "expired", "over": "ended"}


def test_there_is_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rows, "MAX_LIVE", 2)
    made = [make_key("a", ["notify"])[0].id for _ in range(3)]
    assert set(load()) == set(made[1:])


def test_an_id_that_is_taken_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = make_key("a", ["notify"])
    made = iter([(first.id, f"gw_{first.id}_{'x' * 43}"), ("bbbbbbbb", f"gw_bbbbbbbb_{'y' * 43}")])
    monkeypatch.setattr(key_rows, "make_secret", lambda: next(made))
    assert make_key("b", ["notify"])[0].id == "bbbbbbbb"


@pytest.mark.parametrize(
    ("name", "scopes", "left"),
    [
        ("", ["notify"], None),
        ("a b", ["notify"], None),
        ("a" * 65, ["notify"], None),
        ("a\n", ["notify"], None),
        ("a", [], None),
        ("a", ["root"], None),
        ("a", ["notify"], timedelta(seconds=-1)),
    ],
)
def test_a_wrong_key_is_not_made(name: str, scopes: list[str], left: timedelta | None) -> None:
    make_key("a", ["notify"])
    ends = None if left is None else timezone.now() + left
    with pytest.raises(ValueError, match=r"name|scope|expired"):
        make_key(name, scopes, expires_at=ends, replace=True)
    assert live_keys().count() == 1, "and the old one has not ended"


def test_rotation_leaves_both_for_a_while(lines: list[Any]) -> None:
    soon = timezone.now() + timedelta(minutes=1)
    first, _ = make_key("shop", ["notify"])
    ending, _ = make_key("shop", ["notify"], expires_at=soon)
    other, _ = make_key("other", ["notify"])
    new, _ = make_key("shop", ["notify"], replace=True, overlap=DAY)
    ends = {row.id: row.expires_at for row in AccessKey.objects.all()}
    end = ends[first.id]
    assert end is not None
    assert abs(end - timezone.now() - DAY) < timedelta(minutes=1)
    assert ends[ending.id] == soon, "an overlap makes nothing last longer"
    assert ends[new.id] is None
    assert ends[other.id] is None
    assert set(load()) == {first.id, ending.id, other.id, new.id}
    assert lines[-1][1]["replaced"] == 2
    last, _ = make_key("shop", ["notify"], replace=True)
    assert set(load()) == {other.id, last.id}


def test_uses_never_go_back() -> None:
    row, _ = make_key("shop", ["notify"])
    for at in (2_000.0, 1_000.0):
        note_used({row.id: at, "gone": at})
    row.refresh_from_db()
    assert row.last_used_at is not None
    assert row.last_used_at.timestamp() == 2_000.0


def test_what_happens_to_keys_is_in_the_audit_log(lines: list[Any]) -> None:
    row, secret = make_key("shop", ["notify"], by="command")
    end_keys(live_keys(), by="command")
    assert end_keys(AccessKey.objects.all()) == [], "it has ended once"
    made, ended = lines
    assert made[0] == "key_made"
    assert (made[1]["key"], made[1]["id"], made[1]["by"]) == ("shop", row.id, "command")
    assert ended == ("key_ended", {"key": "shop", "id": row.id, "by": "command"})
    assert secret not in str(lines) and row.hash not in str(lines)


# The commands.


def run(*arguments: str) -> tuple[str, str]:
    out, errors = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=errors)
    return out.getvalue(), errors.getvalue()


def test_create_key_prints_the_secret_alone_so_that_it_can_be_piped() -> None:
    out, errors = run(
        "create_key", "shop", "--scope", "notify", "--scope", "tasks:a", "--expires", "90d"
    )
    secret = out.removesuffix("\n")
    row = AccessKey.objects.get()
    assert hash_of(secret) == row.hash
    assert row.scopes == "notify tasks:a"
    assert row.expires_at is not None
    assert abs(row.expires_at - timezone.now() - 90 * DAY) < timedelta(minutes=1)
    assert secret not in errors and row.id in errors and "notify tasks:a, until 2" in errors


def test_create_key_replaces() -> None:
    run("create_key", "shop", "--scope", "notify")
    run("create_key", "shop", "--scope", "notify", "--replace", "--overlap", "30m")
    assert live_keys().count() == 2
    run("create_key", "shop", "--scope", "notify", "--replace")
    assert live_keys().count() == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop",), "--scope"),
        (("shop", "--scope", "root"), "these are: notify, presence"),
        (("a b", "--scope", "notify"), "1 to 64"),
        (("shop", "--scope", "notify", "--expires", "90"), "write 90d"),
        (("shop", "--scope", "notify", "--expires", "99999999d"), "write 90d"),
        (("shop", "--scope", "notify", "--expires", "0s"), "expired already"),
        (("shop", "--scope", "notify", "--overlap", "1d"), "--replace"),
    ],
)
def test_create_key_says_what_is_wrong(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run("create_key", *arguments)
    assert not AccessKey.objects.exists()


def test_end_key() -> None:
    for _ in range(3):
        run("create_key", "shop", "--scope", "notify")
    first = AccessKey.objects.order_by("created_at")[0].id
    assert run("end_key", "shop", "--id", first)[0] == f"key {first} of 'shop' has ended\n"
    with pytest.raises(CommandError, match=r"live keys of this name: [a-z2-7]{8}, [a-z2-7]{8}"):
        run("end_key", "shop", "--id", first)
    assert run("end_key", "shop")[0].count("has ended") == 2
    with pytest.raises(CommandError, match=r"no live key of 'shop'.*: none"):
        run("end_key", "shop")
