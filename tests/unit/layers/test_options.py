"""Options of a channel layer that have no meaning are refused when it is made."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from sockets.layers.options import MAX_SECONDS, require_known, require_options, require_prefix


def test_what_has_a_meaning() -> None:
    require_options(capacity=1, expiry=0.5, group_expiry=MAX_SECONDS, channel_capacity=None)
    require_options(channel_capacity={"http.*": 1, re.compile("x"): 2})
    require_prefix("")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"capacity": 0}, "capacity is 0, and must be a whole number above 0"),
        ({"capacity": True}, "a whole number"),
        ({"capacity": 1.5}, "a whole number"),
        ({"expiry": 0}, "expiry is 0, and must be a number of seconds above 0"),
        ({"expiry": True}, "seconds"),
        ({"expiry": "60"}, "seconds"),
        ({"expiry": float("nan")}, "seconds"),
        ({"expiry": MAX_SECONDS * 2}, "seconds"),
        ({"channel_capacity": [1]}, "a dictionary of patterns"),
        ({"channel_capacity": {7: 1}}, "patterns like"),
        ({"channel_capacity": {"a": 0}}, r"channel_capacity\['a'\] is 0"),
        ({"capacity": 1, "expiry": -1}, "expiry"),
    ],
)
def test_what_has_none(given: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=wanted):
        require_options(**given)


def test_a_prefix_is_text() -> None:
    with pytest.raises(ImproperlyConfigured, match="prefix is b'x', and must be text"):
        require_prefix(b"x")


def test_an_option_that_there_is_not_is_named_with_those_that_there_are() -> None:
    class Layer:
        def __init__(self, hosts: str, *, capacity: int = 1, expiry: float = 1) -> None: ...

    require_known({"capacity": 1}, Layer)
    for name in ("capacty", "hosts"):
        with pytest.raises(ImproperlyConfigured, match=f"{name}'; it has capacity, expiry$"):
            require_known({name: 1}, Layer)
