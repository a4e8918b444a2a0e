"""One image from one format into another, with progress that is measured.

Reading is measured in bytes taken from the source, writing in bytes put into the result; between
the two, pixels are changed and nothing can be counted. Runs in a thread, knows neither queue nor
socket. Input is hostile until proven an image: only the formats below are tried, the number of
pixels is bounded before any is decoded, and whatever a decoder throws becomes one clear sentence.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
"""Width times height; about 200 MB while it is being converted."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format that we read and write. `side`: the longest side it can hold, in pixels."""

    pillow: str
    label: str
    extension: str
    content_type: str
    side: int
    alpha: bool
    options: dict[str, Any]


FORMATS = {
    "png": Format("PNG", "PNG", "png", "image/png", 2**31 - 1, True, {}),
    "jpeg": Format("JPEG", "JPEG", "jpg", "image/jpeg", 65_500, False, {"quality": 85}),
    "webp": Format("WEBP", "WebP", "webp", "image/webp", 16_383, True, {"quality": 80}),
    "gif": Format("GIF", "GIF", "gif", "image/gif", 65_535, True, {}),
    "bmp": Format("BMP", "BMP", "bmp", "image/bmp", 2**31 - 1, False, {}),
    "tiff": Format(
        "TIFF", "TIFF", "tif", "image/tiff", 2**31 - 1, True, {"compression": "tiff_adobe_deflate"}
    ),
}
_READABLE = tuple(format.pillow for format in FORMATS.values())
_OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Faults of this machine, not of the image."""
_NAMES = ", ".join(format.label for format in FORMATS.values())


class Unconvertible(Exception):
    """This file cannot become that format; the text is for its owner."""


class Cancelled(Exception):
    """The progress callback asked to stop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a conversion is. `percent` of this step, or None; `written`: bytes of the result."""

    step: str
    percent: int | None
    written: int = 0


@dataclass(frozen=True, slots=True)
class Converted:
    """What was found and what was lost on the way."""

    source_format: str
    width: int
    height: int
    note: str


Report = Callable[[Progress], None]


def convert(source: Path, result: Path, format: Format, report: Report) -> Converted:
    """Write `source`, converted, to `result`. Blocks.

    `report` is called very often, in this thread; it may raise Cancelled to end the conversion.
    Raises Unconvertible, or OSError when this machine is at fault; `result` may be half written.
    """
    size = source.stat().st_size
    with source.open("rb") as raw, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _hostile():
            try:
                image = Image.open(cast(BinaryIO, _Reader(raw, size, report)), formats=_READABLE)
            except UnidentifiedImageError:
                raise Unconvertible(_what_is(source)) from None
            _check_size(image, format)
            frames = getattr(image, "n_frames", 1)
            image.load()
        report(Progress("converting", None))
        ready, note = _prepare(image, format)
        if frames > 1:
            note = f"Only the first of {frames} frames. {note}".strip()
        report(Progress("writing", None))
        try:
            with result.open("wb") as out:
                counting = cast(BinaryIO, _Writer(out, report))
                ready.save(counting, format.pillow, **_options(image, ready, format))
        except (ValueError, OSError, MemoryError) as error:
            if getattr(error, "errno", None) in _OURS:
                raise
            raise Unconvertible(f"{format.label} cannot hold this image ({error})") from error
    found = "JPEG" if image.format == "MPO" else image.format or ""
    return Converted(found, ready.width, ready.height, note)


@contextmanager
def _hostile() -> Iterator[None]:
    """What decoders throw at broken files is nearly everything: each becomes a clear sentence."""
    try:
        yield
    except (Cancelled, Unconvertible):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unconvertible(_too_many_pixels()) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OURS:
            raise
        raise Unconvertible(_damaged(error)) from error


def _prepare(image: Image.Image, format: Format) -> tuple[Image.Image, str]:
    """Turn it upright and into a mode that the format can hold; tells what was lost."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        upright = _to_8_bit(upright)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        if format.alpha:
            return rgba, ""
        paper = Image.new("RGB", rgba.size, "white")
        paper.paste(rgba, mask=rgba.getchannel("A"))
        return paper, f"{format.label} has no transparency: the background is white."
    return upright.convert("L" if upright.mode in ("1", "L") else "RGB"), ""


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits: stretched to what is in it, because `convert` would cut it off."""
    wide = image.convert("F")
    low, high = 0.0, 65_535.0
    if not image.mode.startswith("I;16"):
        low, high = cast(tuple[float, float], wide.getextrema())
    scale = 255.0 / (high - low) if high > low else 0.0
    return wide.point(lambda value: value * scale - low * scale).convert("L")


def _options(image: Image.Image, ready: Image.Image, format: Format) -> dict[str, Any]:
    """How to save. The colour profile is kept where it still describes the pixels."""
    profile = image.info.get("icc_profile")
    same_colours = image.mode in ("RGB", "RGBA") and ready.mode in ("RGB", "RGBA")
    if profile and same_colours and format.pillow not in ("GIF", "BMP"):
        return {**format.options, "icc_profile": profile}
    return format.options


def _check_size(image: Image.Image, format: Format) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Unconvertible(_too_many_pixels(f" ({width:,} × {height:,})"))
    if max(width, height) > format.side:
        raise Unconvertible(
            f"{format.label} holds at most {format.side:,} pixels a side; "
            f"this image is {width:,} × {height:,}"
        )


def _too_many_pixels(size: str = "") -> str:
    return f"Too many pixels{size}: at most {MAX_PIXELS // 1_000_000} million can be converted"


def _damaged(error: Exception) -> str:
    """What a decoder said, in a sentence; never more than a line."""
    text = str(error) or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "The file ends too early: it was cut off or not copied completely"
    return f"The image is damaged: {text.splitlines()[0][:120]}"


def _what_is(source: Path) -> str:
    """Why this is no image that we can read, from its first bytes."""
    with source.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return "SVG is a drawing without pixels: export it as PNG first"
    if b"ftypheic" in head[:32] or b"ftypmif1" in head[:32]:
        return f"HEIC cannot be read yet; these can: {_NAMES}"
    if b"ftypavif" in head[:32]:
        return f"AVIF cannot be read yet; these can: {_NAMES}"
    if head.startswith(b"%pdf"):
        return f"This is a PDF, not an image; these can be read: {_NAMES}"
    if head and b"\0" not in head and not head.startswith((b"\x89png", b"\xff\xd8", b"gif8")):
        return "This is a text file, whatever its name says"
    return f"This is no image that can be read, or it is damaged; these can: {_NAMES}"


class _Reader:
    """The source as Pillow reads it, counting. No `fileno`: C code would read past us."""

    def __init__(self, file: BinaryIO, size: int, report: Report) -> None:
        self._file = file
        self._size = size
        self._report = report
        self._read = 0
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        # What is read twice (headers) counts twice, hence the bound.
        self._read = min(self._size, self._read + len(data))
        self._report(Progress("reading", self._read * 100 // self._size))
        return data

    def close(self) -> None:
        """The file is closed by who opened it."""


class _Writer:
    """The result as Pillow writes it, counting."""

    def __init__(self, file: BinaryIO, report: Report) -> None:
        self._file = file
        self._report = report
        self._end = 0
        self.seek = file.seek
        self.tell = file.tell
        self.flush = file.flush
        self.read = file.read

    def write(self, data: bytes, /) -> int:
        written = self._file.write(data)
        self._end = max(self._end, self._file.tell())
        self._report(Progress("writing", None, self._end))
        return written


# Pillow's own guard is a second line behind `_check_size`: it also covers what opening decodes.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
