"""Keys: only hashes are kept, all are compared, and a scope holds what it says."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from sockets.auth.keys import (
    Key,
    Use,
    environment_key,
    hash_of,
    id_in,
    make_secret,
)
from sockets.auth.scopes import ALL, MAX_SCOPES, WORKERS, may_use, parse_scopes
from sockets.conf import Conf


def hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


KEYS = {"one": hashed("secret-1"), "two": hashed("secret-2"), "three": hashed("비밀")}
CONF = Conf(worker_keys=KEYS, api_keys={"backend": hashed("secret-b")})


def find_key(secret: str) -> str | None:
    key = environment_key(secret, Use.WORKER, CONF)
    return None if key is None else key.name


@pytest.mark.parametrize(
    ("secret", "name"),
    [("secret-1", "one"), ("secret-2", "two"), ("비밀", "three"), ("secret-3", None), ("", None)],
)
def test_which_key_this_is(secret: str, name: str | None) -> None:
    assert find_key(secret) == name


def test_the_hash_is_no_key() -> None:
    assert find_key(KEYS["one"]) is None


def test_a_secret_that_has_no_utf8_is_simply_unknown() -> None:
    assert find_key("\udcff") is None


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert find_key("secret-1") == "one"
    assert [other for _, other in compared] == list(KEYS.values()), "the first hit ends nothing"
    assert {one for one, _ in compared} == {hashed("secret-1")}


def test_keys_of_the_environment_are_for_one_use() -> None:
    assert environment_key("secret-1", Use.WORKER, CONF) == Key("one", WORKERS)
    assert environment_key("secret-b", Use.API, CONF) == Key("backend", ALL)
    assert environment_key("secret-1", Use.API, CONF) is None
    assert environment_key("secret-b", Use.WORKER, CONF) is None


def test_a_secret_says_which_key_it_is_and_nothing_shows_it() -> None:
    made = [make_secret() for _ in range(100)]
    assert len(set(made)) == 100
    for id, secret in made:
        assert id_in(secret) == id
        assert len(secret) == 3 + 8 + 1 + 43
        assert secret not in repr(Key("name", ALL, id, hash_of(secret)))
        assert hash_of(secret) not in repr(Key("name", ALL, id, hash_of(secret)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gw_",
        "gw_abcdefgh_",
        f"gw_abcdefg1_{'x' * 43}",
        f"gw_abcdefgh_{'x' * 42}",
        "secret-1",
        f"gw_abcdefgh_{'x' * 44}",
        f" gw_abcdefgh_{'x' * 43}",
        f"gw_abcdefgh_{'x' * 43}\n",
    ],
)
def test_what_has_another_form_is_no_key_of_the_database(text: str) -> None:
    assert id_in(text) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["notify"], {"notify"}),
        (["notify", "notify", "tasks:image.convert"], {"notify", "tasks:image.convert"}),
        (["tasks:*", "presence", "admin"], {"tasks:*", "presence", "admin"}),
        ([], None),
        (["tasks"], None),
        (["tasks:"], None),
        (["tasks:a b"], None),
        (["Notify"], None),
        (["*"], None),
        (["image.convert"], None),
        ([f"tasks:{n}" for n in range(MAX_SCOPES + 1)], None),
    ],
)
def test_scopes(words: list[str], expected: set[str] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="scope"):
            parse_scopes(words)
    else:
        assert parse_scopes(words) == expected


def test_a_pool_is_its_own_or_any() -> None:
    assert may_use("a", {"tasks:a"}) and may_use("a", {"tasks:*"})
    assert not may_use("a", {"tasks:ab"}) and not may_use("a", {"notify", "presence", "admin"})
    assert may_use("*", {"tasks:*"}) and not may_use("b", {"tasks:a"})
