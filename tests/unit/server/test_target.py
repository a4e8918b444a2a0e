"""The target of a request, and the host that it is for."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from sockets.server.target import date_now, phrase_of, split_target


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (b"/a?b", b"x", (b"/a?b", b"x")),
        (b"/a", None, (b"/a", None)),
        (b"*", b"x", (b"*", b"x")),
        (b"//a/b", b"x", (b"//a/b", b"x")),
        (b"http://x/a?b", b"x", (b"/a?b", b"x")),
        (b"HTTPS://X:443", b"x", (b"/", b"x")),
        (b"http://x?b", None, (b"/?b", b"x")),
        (b"http://x:8080/a#f", b"x:8080", None),
        (b"http://x:80/", b"x:", (b"/", b"x:")),
    ],
)
def test_a_target_is_served_as_its_path(
    target: bytes, host: bytes | None, expected: tuple[bytes, bytes | None] | None
) -> None:
    if expected is None:  # no request has a fragment
        with pytest.raises(ValueError, match="neither a path nor an http address"):
            split_target(target, host)
    else:
        assert split_target(target, host) == expected


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://a/", b"b"),
        (b"http://a:443/", b"a"),
        (b"https://a:80/", b"a"),
        (b"http://a/", b""),
    ],
)
def test_two_different_hosts_are_refused(target: bytes, host: bytes) -> None:
    with pytest.raises(ValueError, match="another host than Host"):
        split_target(target, host)


@pytest.mark.parametrize("target", [b"ftp://a/", b"javascript:1", b"http://a@b/", b"http:///"])
def test_what_is_no_http_address_is_refused(target: bytes) -> None:
    with pytest.raises(ValueError, match="neither a path"):
        split_target(target, b"a")


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (200, "OK"),
        (413, "Content Too Large"),
        (422, "Unprocessable Content"),
        (299, "Unknown Status"),
    ],
)
def test_the_phrase_of_a_status(status: int, phrase: str) -> None:
    assert phrase_of(status) == phrase


def test_the_date_is_in_gmt() -> None:
    text = date_now()
    assert text.endswith(" GMT") and parsedate_to_datetime(text).tzinfo is not None
