"""The addresses of sentinels: what is read out of a URL, and that nothing secret is shown."""

from __future__ import annotations

import pytest

from sockets.redis import SentinelGroup


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
