"""What a request is for: the form of its target, and the phrase and date of its answer."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

_ABSOLUTE: Final = re.compile(rb"(?i)(https?)://([^/?#@\\\s]+)([/?][^#]*)?")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_DEFAULT_PORT: Final = {b"http": b":80", b"https": b":443"}
_PHRASES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
"""As RFC 9110 has them; this Python may have those of before."""


def split_target(target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    """Return the path with its query, and the host that the request is for.

    `target`: as it came; an address (absolute-form, RFC 9112 section 3.2.2) is served as its path.
    `host`: the request's Host, if it has one. Raises ValueError, in words for the sender, where the
    two name different hosts: a proxy before us may have looked at the other one.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        if _SCHEME.match(target):
            raise ValueError("The target is neither a path nor an http address.")
        return target, host
    port = _DEFAULT_PORT[found[1].lower()]
    if host is not None and _plain(host, port) != _plain(found[2], port):
        raise ValueError("The target names another host than Host does.")
    path = found[3] or b"/"
    return path if path.startswith(b"/") else b"/" + path, host or found[2]


def phrase_of(status: int) -> str:
    """Return the words that follow a status code; "Unknown Status" where there are none."""
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def date_now() -> str:
    """Return the value of a Date header."""
    return _date_at(int(time.time()))


@lru_cache(2)
def _date_at(second: int) -> str:
    return formatdate(second, usegmt=True)


def _plain(host: bytes, default_port: bytes) -> bytes:
    host = host.strip().lower()
    return host[:-1] if host.endswith(b":") else host.removesuffix(default_port)
