"""The API server's part of the demo: the page, tokens, uploads, downloads.

How a page stays right: it takes its position in the visitor's stream, THEN the jobs, and opens its
socket from that position. Whatever changes after the list was read arrives as a message; what had
changed before is in the list. On `reset` it does the same again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from examples.image_converter import assigner
from examples.image_converter.convert import Wish
from examples.image_converter.desk import desk
from examples.image_converter.formats import FORMATS
from examples.image_converter.jobs import Refused
from examples.image_converter.records import Job
from examples.image_converter.tokens import token_for
from examples.image_converter.visitors import (
    display_name,
    in_its_language,
    new_visitor,
    refusal,
    remember,
    visitor_of,
    visitors_only,
)
from sockets.api import acancel_task, astream_position, client_socket_url, worker_socket_url
from sockets.conf import get_conf
from sockets.exceptions import GatewayError

_ASSETS = Path(__file__).parent / "assets"
_ASSET_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_MAX_NAME = 120
_SIDES = range(1, 20_001)
_QUALITIES = range(1, 101)


@require_GET
@in_its_language
async def page(request: HttpRequest) -> HttpResponseBase:
    """The page. Who comes without a cookie becomes somebody."""
    visitor = visitor_of(request) or new_visitor()
    url, limit = client_socket_url(), get_conf().body_demo
    response = render(
        request,
        "image_converter/page.html",
        {
            "name": display_name(visitor),
            "socket_url": url,
            "admin_url": admin_url(),
            "formats": FORMATS,
            "max_bytes": limit,
            "max_megabytes": limit // 2**20,
        },
    )
    response["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' {url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response["Cache-Control"] = "no-store"
    remember(request, response, visitor)
    return response


@require_GET
async def asset(request: HttpRequest, stem: str, suffix: str) -> HttpResponseBase:
    """The page's own files. The public surface has no other static files."""
    try:
        content_type = _ASSET_TYPES[suffix]
        content = await asyncio.to_thread((_ASSETS / f"{stem}.{suffix}").read_bytes)
    except (FileNotFoundError, KeyError):
        raise Http404 from None
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    response = HttpResponse(content, content_type=content_type, headers=headers)
    return get_conditional_response(request, etag=etag, response=response) or response


@require_POST
@visitors_only
async def token(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """A token for this visitor's socket, and where that is."""
    body = {"token": token_for(visitor), "url": client_socket_url()}
    return JsonResponse(body, headers={"Cache-Control": "no-store"})


@require_GET
@visitors_only
async def workers(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """How many there are now; a broadcast tells when that changes."""
    return JsonResponse(await assigner.workers(), headers={"Cache-Control": "no-store"})


@require_http_methods(["GET", "POST"])
@visitors_only
async def jobs(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """GET: the visitor's jobs and the position from which to follow them. POST: a new one."""
    if request.method == "POST":
        return await _upload(request, visitor)
    position = await astream_position(visitor)  # before the jobs: see the head of this file
    found = await asyncio.to_thread(desk().jobs.of, visitor)
    now = time.time()
    body = {
        "position": {"epoch": position.epoch, "offset": position.offset},
        "now": now,
        "jobs": [job.view() for job in found if job.expires > now],
    }
    return JsonResponse(body, headers={"Cache-Control": "no-store"})


async def _upload(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """The raw bytes of one image. In the query: `format`, `side` and `quality` if wanted, `name`,
    and `ref`, the tab's own name for it."""
    given = request.GET
    try:
        wish = wished(given.get("format", ""), given.get("side", ""), given.get("quality", ""))
        jobs = desk().jobs
        received = await asyncio.to_thread(
            jobs.receive,
            request,
            user=visitor,
            name=clean_name(given.get("name", "")),
            wish=wish,
            ref=given.get("ref", "")[:40],
            language=get_language() or "en",
            now=time.time(),
        )
        job = await desk().change(jobs.queue, received)
    except Refused as error:
        return refusal(error.status, error.code, str(error))
    assert job is not None
    assigner.wake()
    return JsonResponse(job.view(), status=202)


@require_http_methods(["DELETE"])
@visitors_only
async def job(request: HttpRequest, visitor: str, job_id: str) -> HttpResponseBase:
    """Remove it, files and all; if it is being worked on, that stops."""
    return _changed(await assigner.remove(desk(), job_id, visitor))


@require_POST
@visitors_only
async def cancel(request: HttpRequest, visitor: str, job_id: str) -> HttpResponseBase:
    """Stop the work on it. One that has just ended stays as it ended."""
    cancelled = await desk().change(desk().jobs.cancel, job_id, visitor)
    if cancelled is not None and cancelled.task:
        with suppress(GatewayError):  # then the worker works in vain: nobody asks for its result
            await acancel_task(cancelled.task)
    return _changed(cancelled or await asyncio.to_thread(desk().jobs.get, job_id, visitor))


@require_POST
@visitors_only
async def retry(request: HttpRequest, visitor: str, job_id: str) -> HttpResponseBase:
    """Once more from the start, where that may help."""
    queued = await desk().change(desk().jobs.retry, job_id, visitor)
    assigner.wake()
    return _changed(queued or await asyncio.to_thread(desk().jobs.get, job_id, visitor))


def _changed(job: Job | None) -> HttpResponseBase:
    """Another visitor's job does not exist, as far as this one can tell."""
    if job is None:
        raise Http404
    return JsonResponse(job.view())


def admin_url() -> str:
    """The admin of this gateway: on the private port, where workers connect too."""
    url = urlsplit(worker_socket_url())
    return f"{url.scheme.replace('ws', 'http')}://{url.netloc}/admin/"


def wished(format: str, side: str, quality: str) -> Wish:
    """What an upload is to become; `side` and `quality` may be "". Raises Refused."""
    if format not in FORMATS:
        raise Refused(
            "bad_format", 400, gettext("Please choose one of the formats that are offered.")
        )
    try:
        wish = Wish(format, int(side) if side else None, int(quality) if quality else None)
    except ValueError:
        raise Refused(
            "bad_number", 400, gettext("Size and quality must be whole numbers.")
        ) from None
    if wish.side is not None and wish.side not in _SIDES:
        text = gettext("The size must be between 1 and %(most)s pixels.")
        raise Refused("bad_side", 400, text % {"most": f"{_SIDES[-1]:,}"})
    if wish.quality is not None and wish.quality not in _QUALITIES:
        raise Refused("bad_quality", 400, gettext("The quality must be between 1 and 100."))
    return wish


def clean_name(name: str) -> str:
    """A file name that a visitor gave, harmless and of bounded length."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(char for char in name if char.isprintable() and char not in '<>:"|?*')
    path = Path(name.strip(". "))
    return f"{path.stem[: _MAX_NAME - len(path.suffix[:10])]}{path.suffix[:10]}" or "image"
