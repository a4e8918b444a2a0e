"""One image from one format into another, with progress that is measured.

Decoding is measured in bytes taken from the source, encoding in bytes put into the result; between
the two, pixels are changed and nothing can be counted. Runs in a thread, knows neither task nor
socket. Input is hostile until proven an image: only our formats are tried, the number of pixels is
bounded before any is decoded, and whatever a decoder throws becomes one clear sentence.
"""

from __future__ import annotations

import errno
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from PIL import Image, ImageOps, UnidentifiedImageError

from examples.image_converter.formats import FORMATS, NAMES, READABLE, Format
from examples.image_converter.spoken import say

MAX_PIXELS = 50_000_000
"""Width times height; 200 to 400 MB while it is being converted."""
THUMBNAIL = 160
"""The longest side of a thumbnail, in pixels."""

_OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Faults of this machine, not of the image."""

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)

_grouped = "{:,}".format

Step = Literal["decode", "resize", "encode"]


class Unconvertible(Exception):
    """This file cannot become that format; the text is for its owner."""


class Cancelled(Exception):
    """The progress callback asked to stop."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an image is to become. `side`: pixels of the longest side; a smaller image keeps its
    size. `quality`: 1 to 100. None: as it is, and the format's default."""

    format: str
    side: int | None = None
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a conversion is. `percent` of this step, or None; `written`: bytes of the result."""

    step: Step
    percent: int | None
    written: int = 0


@dataclass(frozen=True, slots=True)
class Converted:
    """What was found, what it became, and what was lost on the way. Sizes are pixels."""

    source_format: str
    source_width: int
    source_height: int
    width: int
    height: int
    note: str


Report = Callable[[Progress], None]


def convert(source: Path, result: Path, thumbnail: Path, wish: Wish, report: Report) -> Converted:
    """Write `source`, converted, to `result`, and a small WebP of it to `thumbnail`. Blocks.

    `report` is called very often, in this thread; it may raise Cancelled to end the conversion. The
    thumbnail is there before `resize` is reported. Raises Unconvertible, or OSError when this
    machine is at fault; both files may be half written then.
    """
    format = FORMATS[wish.format]
    with source.open("rb") as raw, _hostile():
        image, found = _decode(raw, source, wish, report)
        profile = image.info.get("icc_profile")
        ready, notes = _prepare(image, format)
    if profile and (image.mode not in ("RGB", "RGBA") or format.pillow in ("GIF", "BMP")):
        profile = None  # it would not describe these pixels, or has no place
    _fitted(ready, THUMBNAIL).save(thumbnail, "WEBP", quality=75)
    report(Progress("resize", None))
    ready = _fitted(ready, wish.side)
    report(Progress("encode", None))
    options = _options(wish, format, profile if ready.mode in ("RGB", "RGBA") else None)
    _encode(ready, result, format, options, report)
    return replace(
        found, width=ready.width, height=ready.height, note=f"{found.note} {notes}".strip()
    )


def _decode(
    raw: BinaryIO, source: Path, wish: Wish, report: Report
) -> tuple[Image.Image, Converted]:
    """The pixels of the first frame, upright, and what is known of them; a large JPEG is decoded at
    a fraction of its size if that is enough."""
    try:
        reader = cast(BinaryIO, _Reader(raw, source.stat().st_size, report))
        image = Image.open(reader, formats=READABLE)
    except UnidentifiedImageError:
        raise Unconvertible(_what_is(source)) from None
    _check_size(image, wish)
    width, height = image.size
    if image.getexif().get(_ORIENTATION) in _TURNED:
        width, height = height, width
    # Not `n_frames`: to count them Pillow walks them all, in a TIFF each past all those before.
    moves = getattr(image, "is_animated", False)
    note = say("Only the first frame was converted.") if moves else ""
    if wish.side is not None:
        double = _fit(image.size, 2 * wish.side)
        image.draft(None, double)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    found = "JPEG" if image.format == "MPO" else image.format or ""
    return image, Converted(found, width, height, 0, 0, note)


def _encode(
    image: Image.Image, result: Path, format: Format, options: dict[str, Any], report: Report
) -> None:
    try:
        with result.open("wb") as out:
            image.save(cast(BinaryIO, _Writer(out, report)), format.pillow, **options)
    except (ValueError, OSError, MemoryError) as error:
        if getattr(error, "errno", None) in _OURS:
            raise
        text = say(
            "This image can’t be saved as %(format)s (%(problem)s).",
            format=format.label,
            problem=error,
        )
        raise Unconvertible(text) from error


@contextmanager
def _hostile() -> Iterator[None]:
    """What decoders throw at broken files is nearly everything: each becomes a clear sentence."""
    try:
        yield
    except (Cancelled, Unconvertible):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        said = re.search(r"\((\d+) pixels\)", str(error))
        raise Unconvertible(_too_many_pixels(int(said[1]) if said else None)) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OURS:
            raise
        raise Unconvertible(_damaged(error)) from error


def _prepare(image: Image.Image, format: Format) -> tuple[Image.Image, str]:
    """Bring it into a mode that the format can hold; tells what was lost."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if format.alpha:
            return rgba, ""
        paper = Image.new("RGB", rgba.size, "white")
        paper.paste(rgba, mask=rgba.getchannel("A"))
        return paper, say(
            "%(format)s has no transparency, so the background is white.", format=format.label
        )
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), ""


def _fit(size: tuple[int, int], side: int | None) -> tuple[int, int]:
    """The size with its longest side brought down to `side`; never larger than it was."""
    longest = max(size)
    if side is None or longest <= side:
        return size
    width, height = (max(1, round(length * side / longest)) for length in size)
    return width, height


def _fitted(image: Image.Image, side: int | None) -> Image.Image:
    size = _fit(image.size, side)
    return image if size == image.size else image.resize(size, reducing_gap=3.0)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits: stretched to what is in it, because `convert` would cut it off."""
    wide = image.convert("F")
    low, high = 0.0, 65_535.0
    if not image.mode.startswith("I;16"):
        low, high = cast(tuple[float, float], wide.getextrema())
    scale = 255.0 / (high - low) if high > low else 0.0
    return wide.point(lambda value: value * scale - low * scale).convert("L")


def _options(wish: Wish, format: Format, profile: bytes | None) -> dict[str, Any]:
    """How to save. The colour profile is kept where it still describes the pixels."""
    options = dict(format.options)
    if format.quality is not None:
        options["quality"] = wish.quality or format.quality
    if profile:
        options["icc_profile"] = profile
    return options


def _check_size(image: Image.Image, wish: Wish) -> None:
    (width, height), format = image.size, FORMATS[wish.format]
    if width * height > MAX_PIXELS:
        raise Unconvertible(_too_many_pixels(width * height))
    if max(_fit(image.size, wish.side)) > format.side:
        text = say(
            "%(format)s allows up to %(most)s pixels per side, and this image is %(width)s × "
            "%(height)s. Please choose a smaller size.",
            format=format.label,
            most=_grouped(format.side),
            width=_grouped(width),
            height=_grouped(height),
        )
        raise Unconvertible(text)


def _too_many_pixels(pixels: int | None) -> str:
    most = _grouped(MAX_PIXELS)
    if pixels is None:
        return say("This image has too many pixels. The limit is %(most)s.", most=most)
    return say(
        "This image has too many pixels (%(found)s). The limit is %(most)s.",
        found=_grouped(pixels),
        most=most,
    )


def _damaged(error: Exception) -> str:
    """What a decoder said, in a sentence; never more than a line."""
    text = str(error) or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return say("This file is incomplete. It may not have been copied completely.")
    return say("This image is damaged (%(problem)s).", problem=text.splitlines()[0][:120])


def _what_is(source: Path) -> str:
    """Why this is no image that we can read, from its first bytes."""
    with source.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return say("SVG drawings can’t be converted. Please export it as PNG first.")
    if b"ftypheic" in head[:32] or b"ftypmif1" in head[:32]:
        return _unsupported("HEIC")
    if b"ftypavif" in head[:32] and "avif" not in FORMATS:
        return _unsupported("AVIF")
    if head.startswith(b"%pdf"):
        return say("This is a PDF, not an image. Please choose one of: %(formats)s.", formats=NAMES)
    if head and b"\0" not in head and not head.startswith((b"\x89png", b"\xff\xd8", b"gif8")):
        return say("This is a text file, not an image.")
    return say(
        "This file is not an image, or it is damaged. Please choose one of: %(formats)s.",
        formats=NAMES,
    )


def _unsupported(kind: str) -> str:
    return say(
        "%(kind)s is not supported yet. Please choose one of: %(formats)s.",
        kind=kind,
        formats=NAMES,
    )


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
        self._report(Progress("decode", self._read * 100 // self._size))
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
        self._report(Progress("encode", None, self._end))
        return written


# Pillow's own guard is a second line behind `_check_size`: it also covers what opening decodes.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)  # once: filters are not per thread
