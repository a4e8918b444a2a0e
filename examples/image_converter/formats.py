"""The image formats that are read and written. AVIF only where this Pillow can."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import features


@dataclass(frozen=True, slots=True)
class Format:
    """`side`: the longest side it can hold, in pixels. `quality`: the default, from 1 to 100; None
    where nothing is lost and there is nothing to choose."""

    pillow: str
    label: str
    extension: str
    content_type: str
    side: int
    alpha: bool = True
    quality: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


_UNBOUND = 2**31 - 1
FORMATS = {
    "webp": Format("WEBP", "WebP", "webp", "image/webp", 16_383, quality=80),
    "avif": Format("AVIF", "AVIF", "avif", "image/avif", 16_384, quality=65, options={"speed": 8}),
    "jpeg": Format("JPEG", "JPEG", "jpg", "image/jpeg", 65_500, alpha=False, quality=85),
    "png": Format("PNG", "PNG", "png", "image/png", _UNBOUND),
    "gif": Format("GIF", "GIF", "gif", "image/gif", 65_535),
    "tiff": Format(
        "TIFF", "TIFF", "tif", "image/tiff", _UNBOUND, options={"compression": "tiff_adobe_deflate"}
    ),
    "bmp": Format("BMP", "BMP", "bmp", "image/bmp", _UNBOUND, alpha=False),
}
if not features.check("avif"):
    del FORMATS["avif"]

READABLE = tuple(format.pillow for format in FORMATS.values())
NAMES = ", ".join(format.label for format in FORMATS.values())
