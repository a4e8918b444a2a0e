"""The example's converter, which waits half way through an image while the tests hold it.

A long image would take seconds of a core, and on a busy machine many more for the page that shows
them. What is held costs nothing, is never done too soon, and can be cancelled.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from examples.image_converter import convert
from examples.image_converter.worker import worker as worker

HELD = Path(os.environ["HELD"])
"""A file: while it is there, no image is finished."""


class _HeldWriter(convert._Writer):
    """Says again and again how much is written, as a slow encoder does."""

    def write(self, data: bytes, /) -> int:
        written = super().write(data)
        while HELD.exists():
            time.sleep(0.2)
            self._report(convert.Progress("encode", None, self._end))
        return written


convert._Writer = _HeldWriter  # type: ignore[misc]
