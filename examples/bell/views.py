"""Ring the bell in one tab: every tab of this visitor rings, one that was away when it is back."""

from __future__ import annotations

import secrets
from dataclasses import asdict

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from examples.image_converter.visitors import new_visitor, remember, visitor_of, visitors_only
from sockets.api import anotify_user, astream_position, client_socket_url


@require_GET
async def page(request: HttpRequest) -> HttpResponseBase:
    visitor = visitor_of(request) or new_visitor()
    position = asdict(await astream_position(visitor))  # first; whatever else a page needs, then
    url, nonce = client_socket_url(), secrets.token_urlsafe(16)
    told = {"position": position, "url": url, "nonce": nonce}
    response = render(request, "bell/page.html", told)
    response["Content-Security-Policy"] = f"default-src 'self' 'nonce-{nonce}' {url}"
    remember(request, response, visitor)
    return response


@require_POST
@visitors_only
async def ring(request: HttpRequest, visitor: str) -> HttpResponseBase:
    await anotify_user(visitor, "bell.rung", {"by": request.headers["Tab-Name"]}, ttl=60)
    return HttpResponse(status=204)


urlpatterns = [path("", page), path("ring", ring)]
