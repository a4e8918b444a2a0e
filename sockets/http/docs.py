"""The page of the HTTP API's documents, to read and try: made of files that ninja brings.

It needs no app, no static files and no template of the project, and no foreign host.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Final

import ninja
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

_FILES: Final = Path(ninja.__file__).parent / "static" / "ninja"
_TYPES: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui-init.js": "text/javascript; charset=utf-8",
}
_SETTINGS: Final = {"layout": "BaseLayout", "deepLinking": True, "url": "openapi.json"}
_PAGE: Final = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gateway: the HTTP API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<script type="application/json" id="swagger-settings">{json.dumps(_SETTINGS)}</script>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/swagger-ui-init.js"></script>
</body>
</html>
"""


@require_safe
async def page(request: HttpRequest) -> HttpResponseBase:
    """GET …/docs. Its links are relative, wherever the API is served below."""
    return HttpResponse(_PAGE, headers={"Cache-Control": "no-store"})


@require_safe
async def asset(request: HttpRequest, name: str) -> HttpResponseBase:
    """GET …/docs/<file>: a style or a script of the page."""
    if name not in _TYPES:
        raise Http404
    content, etag = _read(name)
    headers = {
        "Content-Type": _TYPES[name],
        "ETag": etag,
        "Cache-Control": "public, max-age=3600",
    }
    response = HttpResponse(content, headers=headers)
    return get_conditional_response(request, etag=etag, response=response) or response


@lru_cache(maxsize=8)
def _read(name: str) -> tuple[bytes, str]:
    content = (_FILES / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
