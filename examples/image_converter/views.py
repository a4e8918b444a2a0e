"""The API server's part of the demo: the page, tokens, uploads, downloads.

How a page stays right: it takes its position in the visitor's stream, THEN the jobs, and opens its
socket from that position. Whatever changes after the list was read arrives as a message; what had
changed before is in the list. On `reset` it does the same again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from examples.image_converter.convert import FORMATS
from examples.image_converter.jobs import Job, JobFolder, Limits, Refused
from examples.image_converter.tokens import token_for
from examples.image_converter.visitors import (
    display_name,
    new_visitor,
    refusal,
    remember,
    visitor_of,
    visitors_only,
)
from sockets.api import anotify_user, astream_position, client_socket_url
from sockets.conf import get_conf
from sockets.exceptions import GatewayError

log = logging.getLogger(__name__)

_ASSETS = Path(__file__).parent / "assets"
_ASSET_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_CHUNK = 64 * 1024
_MAX_NAME = 120


def folder() -> JobFolder:
    """The queue; the worker finds the same one below the same DATA_DIR."""
    conf = get_conf()
    return JobFolder(conf.data_dir / "demo", Limits(upload=conf.body_demo))


@require_GET
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
            "formats": [(key, format.label) for key, format in FORMATS.items()],
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


@require_http_methods(["GET", "POST"])
@visitors_only
async def jobs(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """GET: the visitor's jobs and the position from which to follow them. POST: a new one."""
    if request.method == "POST":
        return await _upload(request, visitor)
    await _tidy()
    position = await astream_position(visitor)  # before the jobs: see the head of this file
    found = await asyncio.to_thread(folder().jobs_of, visitor)
    body = {
        "position": {"epoch": position.epoch, "offset": position.offset},
        "jobs": [job.view() for job in found],
    }
    return JsonResponse(body, headers={"Cache-Control": "no-store"})


async def _upload(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """The raw bytes of one image; `format`, `name` and the tab's own `ref` are in the query."""
    format = request.GET.get("format", "")
    if format not in FORMATS:
        return refusal(400, "bad_format", f"format must be one of {', '.join(FORMATS)}")
    try:
        job = await asyncio.to_thread(
            folder().add,
            request,
            user=visitor,
            name=clean_name(request.GET.get("name", "")),
            format=format,
            ref=request.GET.get("ref", "")[:40],
            now=time.time(),
        )
    except Refused as error:
        return refusal(error.status, error.code, str(error))
    await _tell("job.queued", job)
    return JsonResponse(job.view(), status=202)


@require_GET
@visitors_only
async def result(request: HttpRequest, visitor: str, job_id: str) -> HttpResponseBase:
    """Download. Another visitor's job does not exist, as far as this one can tell."""
    found = await asyncio.to_thread(folder().result, job_id, visitor)
    if found is None:
        raise Http404
    job, path = found
    format = FORMATS[job.format]
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        raise Http404 from None  # deleted just now
    name = f"{Path(job.name).stem or 'image'}.{format.extension}"
    return StreamingHttpResponse(
        _chunks(file),
        content_type=format.content_type,
        headers={
            "Content-Length": str(job.result_bytes),
            "Content-Disposition": content_disposition_header(True, name),
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )


def clean_name(name: str) -> str:
    """A file name that a visitor gave, harmless and of bounded length."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(char for char in name if char.isprintable() and char not in '<>:"|?*')
    path = Path(name.strip(". "))
    return f"{path.stem[: _MAX_NAME - len(path.suffix[:10])]}{path.suffix[:10]}" or "image"


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


async def _tidy() -> None:
    """Delete what is over and put back what a dead worker left, in case no worker is there to."""
    now, jobs = time.time(), folder()
    for job in await asyncio.to_thread(jobs.revive, now):
        await _tell(f"job.{job.state}", job)
    await asyncio.to_thread(jobs.expire, now)


async def _tell(event: str, job: Job) -> None:
    """Every tab of the job's owner hears of it.

    Without a collapse key: this message and the worker's may cross, and the worker's must stay.
    A gateway that cannot take it is no reason to refuse the upload: the list has the job.
    """
    try:
        await anotify_user(job.user, event, job.view())
    except GatewayError:
        log.warning("could not tell %s of %s", job.user, event, exc_info=True)
