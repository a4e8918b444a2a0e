"""The browser client as a file, and the map to its source."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

import sockets

FOLDER = Path(sockets.__file__).parent / "static" / "sockets"
SDK = FOLDER / "gateway.js"
MAP = FOLDER / "gateway.js.map"


@lru_cache(maxsize=4)
def _read(file: Path, _changed: float) -> tuple[bytes, str]:
    content = file.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@require_safe
async def client(request: HttpRequest) -> HttpResponseBase:
    """GET /gateway.js: the module that pages import, from any origin."""
    return _file(request, SDK, "text/javascript; charset=utf-8")


@require_safe
async def source_map(request: HttpRequest) -> HttpResponseBase:
    """GET /gateway.js.map: what the module's last line names, for debuggers."""
    return _file(request, MAP, "application/json")


def _file(request: HttpRequest, file: Path, kind: str) -> HttpResponseBase:
    content, etag = _read(file, file.stat().st_mtime)
    headers = {
        "Content-Type": kind,
        "ETag": etag,
        "Cache-Control": "public, max-age=300",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    response = HttpResponse(content, headers=headers)
    return get_conditional_response(request, etag=etag, response=response) or response
