"""One problem as a response (RFC 9457). The server writes some by itself, without the HTTP API."""

from __future__ import annotations

import json
import math
from typing import Any

from django.http import HttpResponse

CONTENT_TYPE = "application/problem+json"

_TITLES = {
    400: "The request cannot be read",
    401: "No valid key",
    403: "The key may not do this",
    404: "There is no such thing",
    405: "Not with this method",
    409: "In conflict with what is there",
    413: "Too large",
    422: "The request is understood, and wrong",
    429: "Too many requests",
    500: "An error of the gateway",
    503: "Not now",
}


def body_of(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """Return the JSON of a problem. `members`: extensions, for programs; a `code` is always
    there."""
    body = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    return body | {"code": f"http_{status}"} | members


def problem(status: int, detail: str, **members: Any) -> HttpResponse:
    """Return a problem as a response; `members` as in `body_of`."""
    body = body_of(status, detail, **members)
    response = HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="gateway"'
    if status in (429, 503):
        response._has_been_logged = True  # type: ignore[attr-defined]  # no error of the gateway's
        response["Retry-After"] = str(math.ceil(members.get("retry_after", 1)))
    return response
