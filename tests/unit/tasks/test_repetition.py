"""Which requests are equal, compared as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sockets.tasks.repetition import is_repetition, request_hash
from tests.support.doubles import task


def hashed(data: bytes = b"null", **given: Any) -> str:
    asked: dict[str, Any] = {
        **{"pool": "p", "event": "e", "user": None, "progress_to_user": True, "timeout": None},
        **given,
    }
    return request_hash(**asked, data=data)


def nested(levels: int, text: str = "0") -> bytes:
    return b"[" * levels + text.encode() + b"]" * levels


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":[2]}', b'{ "b" : [2.0], "a" : 10e-1 }'),
        (b"1e30", b"1" + b"0" * 30),
        (b"0", b"-0.0"),
        (b"1.50", b"1.5"),
        (b"-5e0", b"-5"),
        (b'"\\u00e9"', '"é"'.encode()),
        (nested(5_000), nested(5_000)),
    ],
)
def test_the_way_of_writing_does_not_count(one: bytes, other: bytes) -> None:
    assert hashed(one) == hashed(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1", b"true"),
        (b"0", b"false"),
        (b"0", b"null"),
        (b"1", b'"1"'),
        (b"1", b'"1e0"'),
        (b"1", b"-1"),
        (b"1", b"10"),
        (b"9007199254740993", b"9007199254740992"),
        (b"[1,2]", b"[2,1]"),
        (b"[[1],2]", b"[1,[2]]"),
        (b'{"a":null}', b"{}"),
        (b'{"a":1}', b'{"A":1}'),
        (nested(5_000), nested(5_000, "1")),
    ],
)
def test_what_is_another_value_is_another_request(one: bytes, other: bytes) -> None:
    assert hashed(one) != hashed(other)


def test_each_member_counts_and_none_passes_for_another() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"pool": "q"},
        {"pool": "pe", "event": ""},
        {"event": "f"},
        {"user": "p"},
        {"user": "null"},
        {"progress_to_user": False},
        {"timeout": 300},
    ]
    assert len({hashed(**change) for change in changes}) == len(changes)
    assert hashed(timeout=300) == hashed(timeout=300.0)


def test_any_json_of_ours_can_be_hashed() -> None:
    hashed(msgspec.json.encode({"한": [1.5, -2, 2**63, 1e-300, None, True, "x"]}))


@pytest.mark.parametrize("data", [b"1e99999999999999999999", b'"\\ud800"'])
def test_what_only_raw_json_can_hold_is_compared_as_it_is_written(data: bytes) -> None:
    assert hashed(data) == hashed(data) != hashed(b" " + data)


def test_a_record_without_a_hash_is_compared_by_what_it_has() -> None:
    old, asked = task(user="42"), task(user="42", request="new")
    assert is_repetition(asked, old) and is_repetition(asked, replace(old, worker="w", result=1))
    for other in ({"pool": "q"}, {"event": "f"}, {"user": None}, {"timeout": 1.0}):
        assert not is_repetition(replace(asked, **other), old)
    assert not is_repetition(replace(asked, request="other"), replace(old, request="new"))
