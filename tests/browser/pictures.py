"""Images to convert."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from io import BytesIO

from PIL import Image


@lru_cache(maxsize=8)
def photo(width: int = 800, height: int = 600, format: str = "PNG") -> bytes:
    """Half a megabyte that no format makes much smaller: a third of it is noise."""
    picture = Image.linear_gradient("L").resize((width, height))
    grain = Image.effect_noise((width, height), 40)
    out = BytesIO()
    Image.merge("RGB", (picture, grain, picture.rotate(180))).save(out, format)
    return out.getvalue()


LONG = ("long.jpg", photo(800, 600, "JPEG"))
"""A file whose PNG is written in several pieces; it takes as long as the site is `held`."""


def bomb(side: int = 20_000) -> bytes:
    """A PNG of a few bytes that claims to have so many pixels a side."""

    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 99))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")
