"""The browser client as a file."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

import sockets

SDK = Path(sockets.__file__).parent / "static" / "sockets" / "gateway.js"


@lru_cache(maxsize=2)
def _read(_changed: float) -> tuple[bytes, str]:
    content = SDK.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@require_safe
async def client(request: HttpRequest) -> HttpResponseBase:
    """GET /gateway.js: the module that pages import, from any origin."""
    content, etag = _read(SDK.stat().st_mtime)
    headers = {
        "Content-Type": "text/javascript; charset=utf-8",
        "ETag": etag,
        "Cache-Control": "public, max-age=300",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    response = HttpResponse(content, headers=headers)
    return get_conditional_response(request, etag=etag, response=response) or response
