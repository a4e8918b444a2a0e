"""The Python API, called from other processes of the project."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router

from sockets.api.calls import answer
from sockets.auth.scopes import CALL
from sockets.http.security import ApiKey

router = Router()


@router.post("/call", auth=ApiKey(CALL), include_in_schema=False)
async def call(request: HttpRequest) -> HttpResponse:
    """Internal: its form is that of `sockets/api/calls.py`, and changes with it."""
    return HttpResponse(await answer(request.body), content_type="application/json")
