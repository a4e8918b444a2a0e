"""Worker keys: only hashes are kept, all are compared, and browsers stay outside."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from sockets.auth.handshake import Handshake, parse
from sockets.auth.keys import authenticate_worker, find_key
from sockets.conf import Conf
from sockets.exceptions import Forbidden, Unauthorized
from sockets.types import Credentials
from tests.unit.doubles import scope_of


def hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


KEYS = {"one": hashed("secret-1"), "two": hashed("secret-2"), "three": hashed("비밀")}
CONF = Conf(worker_keys=KEYS)


def hand(query: str = "", **headers: str) -> Handshake:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return parse(scope_of(query, headers=raw))


@pytest.mark.parametrize(
    ("secret", "name"),
    [("secret-1", "one"), ("secret-2", "two"), ("비밀", "three"), ("secret-3", None), ("", None)],
)
def test_which_key_this_is(secret: str, name: str | None) -> None:
    assert find_key(secret, KEYS) == name


def test_the_hash_is_no_key() -> None:
    assert find_key(KEYS["one"], KEYS) is None


def test_a_secret_that_has_no_utf8_is_simply_unknown() -> None:
    assert find_key("\udcff", KEYS) is None


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert find_key("secret-1", KEYS) == "one"
    assert [other for _, other in compared] == list(KEYS.values()), "the first hit ends nothing"
    assert {one for one, _ in compared} == {hashed("secret-1")}


def test_a_worker_is_known_by_its_key() -> None:
    known = authenticate_worker(hand(authorization="Bearer secret-2"), CONF)
    assert known == Credentials("two", "key")


def test_a_request_of_a_browser_is_refused_whatever_its_key() -> None:
    for origin in ("https://example.com", "null", ""):
        with pytest.raises(Forbidden, match="browsers"):
            authenticate_worker(hand(origin=origin, authorization="Bearer secret-2"), CONF)


@pytest.mark.parametrize("query", ["token=secret-1", "key=secret-1"])
def test_a_key_is_never_read_from_the_query(query: str) -> None:
    with pytest.raises(Unauthorized, match="no key: send Authorization"):
        authenticate_worker(hand(query), Conf(worker_keys=KEYS, query_token=True))


def test_an_unknown_key_is_not_quoted() -> None:
    with pytest.raises(Unauthorized) as caught:
        authenticate_worker(hand(authorization="Bearer wrong-one"), CONF)
    assert "wrong-one" not in str(caught.value)


def test_without_configured_keys_nobody_is_a_worker() -> None:
    with pytest.raises(Unauthorized, match="WORKER_KEYS"):
        authenticate_worker(hand(authorization="Bearer secret-1"), Conf())
