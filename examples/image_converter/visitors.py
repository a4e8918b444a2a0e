"""Who a visitor is: a random name in a signed cookie, which requests may act in that name, and in
which language they are answered."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language_from_request, gettext, override
from django.utils.translation import gettext_noop as _

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]

COOKIE = "demo_visitor"
PATH = "/demo/"
MAX_AGE = 30 * 24 * 3600
_SALT = "examples.image_converter.visitor"
_SAFE = ("GET", "HEAD")

_ADJECTIVES = (
    _("Brave"), _("Calm"), _("Clever"), _("Curious"), _("Eager"), _("Gentle"), _("Happy"),
    _("Kind"), _("Lucky"), _("Mellow"), _("Nimble"), _("Patient"), _("Quick"), _("Quiet"),
    _("Sunny"), _("Witty"),
)  # fmt: skip
_ANIMALS = (
    _("Badger"), _("Beaver"), _("Crane"), _("Dolphin"), _("Falcon"), _("Finch"), _("Fox"),
    _("Gecko"), _("Heron"), _("Koala"), _("Lynx"), _("Otter"), _("Panda"), _("Puffin"),
    _("Robin"), _("Wombat"),
)  # fmt: skip


def new_visitor() -> str:
    """A user id such as `brave-otter-5f0c…`: a name for people, and 64 bits nobody guesses."""
    name = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}".lower()
    return f"{name}-{secrets.token_hex(8)}"


def display_name(visitor: str) -> str:
    """The name for people, in the language of the request: `Brave Otter`."""
    return " ".join(gettext(part.capitalize()) for part in visitor.split("-")[:2])


def visitor_of(request: HttpRequest) -> str | None:
    """The user id in the cookie, or None if there is none that we signed."""
    visitor = request.get_signed_cookie(COOKIE, default=None, salt=_SALT, max_age=MAX_AGE)
    return visitor or None


def remember(request: HttpRequest, response: HttpResponseBase, visitor: str) -> None:
    """Give the browser its cookie: every tab of it is the same user from now on."""
    response.set_signed_cookie(
        COOKIE,
        visitor,
        salt=_SALT,
        max_age=MAX_AGE,
        path=PATH,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )


def in_its_language(view: View) -> View:
    """Let the view answer in the first language of its browser that there is; else in English."""

    @wraps(view)
    async def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with override(get_language_from_request(request)):
            response = await view(request, *args, **kwargs)
        patch_vary_headers(response, ("Accept-Language",))
        return response

    return answered


def visitors_only(view: View) -> View:
    """Give the view its `visitor`; 401 without one, 403 when another site's page is asking.

    Cookies come along with requests that other pages send; an Origin tells who sent them, and no
    page can change it. Browsers send it with every request that changes something.
    """

    @in_its_language
    @wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method not in _SAFE and not _is_own_page(request):
            return refusal(403, "foreign_origin", gettext("This request came from another site."))
        visitor = visitor_of(request)
        if visitor is None:
            text = gettext("Please open the page first, with cookies allowed.")
            return refusal(401, "no_visitor", text)
        return await view(request, visitor, *args, **kwargs)

    return guarded


def _is_own_page(request: HttpRequest) -> bool:
    """By host and port only: behind a proxy that ends TLS, we do not see the page's scheme."""
    try:
        origin = urlsplit(request.headers.get("Origin", ""))
    except ValueError:
        return False
    return origin.scheme in ("http", "https") and origin.netloc == request.get_host()


def refusal(status: int, code: str, message: str) -> JsonResponse:
    """An error in the shape that the sockets use too."""
    return JsonResponse({"error": {"code": code, "message": message}}, status=status)
