"""User ids in paths: any string, `/` and `%` included, percent-encoded by the caller.

ASGI decodes the whole path, so that `a%2Fb` would be two segments. Here a path is decoded anew
from `raw_path`, without those two characters, and the converter does the rest.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest
from django.urls import is_valid_path

from sockets.conf import get_conf
from sockets.http.middleware.base import surface_of
from sockets.http.own_paths import exact_paths

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_KEPT = {b"2f": b"%2F", b"25": b"%25"}
_LAST = {"%2F": "/", "%25": "%"}


class SegmentConverter:
    """Matches one segment of a path, whatever is in it."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        return re.sub("%2F|%25", lambda found: _LAST[found[0]], value)

    def to_url(self, value: str) -> str:
        return quote(value, safe="")


def keep_segments(request: HttpRequest) -> bool:
    """Decode the path of an API request without losing where its segments end. Returns False for a
    path that is no UTF-8, which would be read as another user's."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    raw = scope.get("raw_path")
    if not raw or not request.path_info.startswith(get_conf().api_path):
        return True
    path = raw.partition(b"?")[0].removeprefix(quote(scope.get("root_path") or "").encode())
    decoded = _ESCAPE.sub(_decode, path)
    request.path_info = decoded.decode("utf-8", "replace")
    return request.path_info.encode() == decoded


def other_slash(request: HttpRequest) -> str:
    """Return the request's path with its last slash taken away or added, if that path exists: in
    the URLs of the request, or among the gateway's own; else ""."""
    path = request.path_info
    other = path[:-1] if path.endswith("/") else f"{path}/"
    # What is no UTF-8 has been replaced by now: its path cannot be written.
    if other == get_conf().api_path or "\ufffd" in other:
        return ""
    exact = other in exact_paths(surface_of(request))
    exists = exact or is_valid_path(other, getattr(request, "urlconf", None))
    return quote(other, safe="/%") if exists else ""


def _decode(found: re.Match[bytes]) -> bytes:
    return _KEPT.get(found[1].lower()) or bytes.fromhex(found[1].decode())
