"""Pages that say little: errors, and no icon.

In development a form that is refused for its page's origin says what to set.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import REASON_BAD_ORIGIN
from django.views.csrf import csrf_failure as csrf_page
from django.views.decorators.http import require_safe

from sockets.auth.origins import refuse_form
from sockets.conf import get_conf
from sockets.http.paths import other_slash

_BAD_ORIGIN = REASON_BAD_ORIGIN.partition("%")[0]


@require_safe
async def no_icon(request: HttpRequest) -> HttpResponseBase:
    """GET /favicon.ico: browsers ask for it on pages that name none, such as the admin's."""
    return HttpResponse(status=204, headers={"Cache-Control": "public, max-age=86400"})


def _short(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400, to a foreign host name among others."""
    return _short(400, "Bad request")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 403."""
    return _short(403, "Forbidden")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer 403 to a form of the admin. Where its page's origin is the cause, as with a proxy that
    ends TLS, the log says what to set."""
    if reason.startswith(_BAD_ORIGIN):
        scope = getattr(request, "scope", {})
        advice = refuse_form(scope, "CSRF_TRUSTED_ORIGINS", settings.CSRF_TRUSTED_ORIGINS)
        if get_conf().environment == "development":
            return _short(403, advice)
    return csrf_page(request, reason=reason)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404, which says nothing of what exists, except to who has missed a slash."""
    meant = other_slash(request)
    return _short(404, f"Not found: it is {meant}" if meant else "Not found")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500; the log has the rest."""
    return _short(500, "Server error")
