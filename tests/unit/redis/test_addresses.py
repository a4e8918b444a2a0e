"""Addresses: what is read out of a URL, which are one server, and that nothing secret is shown."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.redis import SentinelGroup, database_of, is_same_login


def of(url: str) -> SentinelGroup:
    group = SentinelGroup.of(url)
    assert group is not None
    return group


def test_a_short_address_gets_the_defaults() -> None:
    group = of("redis+sentinel://one")
    assert (group.service, group.hosts) == ("mymaster", [("one", 26379)])
    assert group.options == {"db": 0}
    assert not {"username", "password"} & set(group.sentinel_options)


def test_all_of_a_long_address_is_read() -> None:
    url = "redis+sentinel://us%40er:p%3Aw@one:1,two,[::1]:3,[::2]/5?service=s"
    group = of(url + "&sentinel_username=su&sentinel_password=s%26p")
    assert group.service == "s"
    assert group.hosts == [("one", 1), ("two", 26379), ("::1", 3), ("::2", 26379)]
    assert group.options == {"username": "us@er", "password": "p:w", "db": 5}
    assert group.sentinel_options["username"] == "su"
    assert group.sentinel_options["password"] == "s&p"


def test_passwords_are_not_shown() -> None:
    group = of("redis+sentinel://user:secret@one/0?sentinel_password=hidden")
    assert "secret" not in repr(group)
    assert "hidden" not in repr(group)


@pytest.mark.parametrize("url", ["redis://one", "rediss://one", "unix:///x", "redis+cluster://a"])
def test_other_addresses_are_none_of_a_sentinel(url: str) -> None:
    assert SentinelGroup.of(url) is None


@pytest.mark.parametrize(
    "rest",
    ["", "one,,two", "one:x", "one/x", ":se/cret@one/0", "u:secret/x@one/0", "u:9/secret@o/0"],
)
def test_a_bad_address_is_refused_without_showing_it(rest: str) -> None:
    with pytest.raises(ValueError) as error:
        SentinelGroup.of(f"redis+sentinel://{rest}")
    assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "url", "same"),
    [
        ({"address": "redis://h"}, "redis://h", True),
        ({"address": "redis://h:6379/3"}, "redis://H/1", True),
        ({"address": "redis://:p%40@h"}, "redis://:p%40@h:6379/2", True),
        ({"host": "h", "port": 6379}, "redis://h/0", True),
        ({"host": "h", "port": 6379, "password": "p@"}, "redis://:p%40@h", True),
        ({"address": "unix:///r.sock"}, "unix:///r.sock", True),
        ({"address": "redis+sentinel://a,b/1"}, "redis+sentinel://a,b/1", True),
        ({"address": "redis+sentinel://a,b/2"}, "redis+sentinel://a,b/1", False),
        ({"address": "redis://h"}, "rediss://h", False),
        ({"address": "redis://h"}, "redis://:p@h", False),
        ({"address": "redis://layer:p@h"}, "redis://gw:p@h", False),
        ({"address": "redis://h", "password": "p"}, "redis://h", False),
        ({"host": "h", "port": 1}, "redis://h", False),
        ({"host": "h", "port": 6379}, "rediss://h", False),
        ({"host": "h", "port": 6379, "ssl": True}, "redis://h", False),
        ({"address": "redis://localhost"}, "redis://127.0.0.1", False),  # perhaps another
        ({"address": "redis://h"}, "redis+cluster://h:6379", False),
        ({"address": ("h", 6379)}, "redis://h", False),
    ],
    ids=str,
)
def test_the_same_server_by_the_same_login(host: dict[str, Any], url: str, same: bool) -> None:
    """Rule 12: then a script may publish what it appends."""
    assert is_same_login(host, url) is same


@pytest.mark.parametrize(
    ("url", "number"),
    [
        *(("redis://h", 0), ("redis://h/", 0), ("rediss://:p@h/4", 4), ("redis://h/x", 0)),
        *(("unix:///r.sock", 0), ("unix:///r.sock?db=2", 2)),
        ("redis+sentinel://a:1,b/1?service=m", 1),
    ],
)
def test_the_number_of_the_database(url: str, number: int) -> None:
    assert database_of(url) == number
