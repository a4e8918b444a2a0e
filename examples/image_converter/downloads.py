"""What the converter made, to its owner and to nobody else: results, thumbnails, all as a ZIP.

The bytes began as a stranger's upload. They are served as the type that we encoded them in, never
sniffed, and a browser that opens one as a page gets a sandbox without scripts.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from examples.image_converter.desk import desk
from examples.image_converter.formats import FORMATS
from examples.image_converter.records import Job
from examples.image_converter.visitors import visitors_only

_CHUNK = 64 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}


@require_GET
@visitors_only
async def result(request: HttpRequest, visitor: str, job_id: str) -> HttpResponseBase:
    """Download. Another visitor's job does not exist, as far as this one can tell."""
    job = await asyncio.to_thread(desk().jobs.get, job_id, visitor)
    if job is None or job.state != "done":
        raise Http404
    file = await _opened(desk().jobs.result(job))
    headers = {
        **_HEADERS,
        "Content-Length": str(job.result_bytes),
        "Content-Disposition": content_disposition_header(True, result_name(job)),
    }
    return StreamingHttpResponse(
        _chunks(file), content_type=FORMATS[job.format].content_type, headers=headers
    )


@require_GET
@visitors_only
async def thumbnail(request: HttpRequest, visitor: str, job_id: str) -> HttpResponseBase:
    """A small WebP of the source, as soon as a worker has decoded it."""
    job = await asyncio.to_thread(desk().jobs.get, job_id, visitor)
    if job is None:
        raise Http404
    file = await _opened(desk().jobs.thumbnail(job))
    return StreamingHttpResponse(_chunks(file), content_type="image/webp", headers=_HEADERS)


@require_GET
@visitors_only
async def archive(request: HttpRequest, visitor: str) -> HttpResponseBase:
    """All results of this visitor, made while it is sent."""
    jobs = desk().jobs
    done = [job for job in await asyncio.to_thread(jobs.of, visitor) if job.state == "done"]
    if not done:
        raise Http404
    files = list(
        zip(distinct([result_name(job) for job in done]), map(jobs.result, done), strict=True)
    )
    headers = {**_HEADERS, "Content-Disposition": 'attachment; filename="images.zip"'}
    return StreamingHttpResponse(
        _from_thread(zipped(files)), content_type="application/zip", headers=headers
    )


def result_name(job: Job) -> str:
    """`holiday.png` as `holiday.webp`."""
    return f"{Path(job.name).stem or 'image'}.{FORMATS[job.format].extension}"


def distinct(names: list[str]) -> list[str]:
    """The second `a.webp` becomes `a (2).webp`."""
    found: list[str] = []
    for name in names:
        path, number = Path(name), 2
        while name in found:
            name, number = f"{path.stem} ({number}){path.suffix}", number + 1
        found.append(name)
    return found


def zipped(files: list[tuple[str, Path]]) -> Iterator[bytes]:
    """A ZIP of these files, stored: images are compressed already. What is gone is left out."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, path in files:
            try:
                source = path.open("rb")
            except FileNotFoundError:
                continue  # expired just now
            with source, archive.open(zipfile.ZipInfo(name), "w") as entry:
                while chunk := source.read(_CHUNK):
                    entry.write(chunk)
                    yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What a ZIP is written to: keeps the bytes until they are taken. It cannot seek, so the
    archive is written in one go."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def _opened(path: Path) -> BinaryIO:
    try:
        return await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        raise Http404 from None  # not made yet, or deleted just now


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


async def _from_thread(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part
