"""What to set where a page was refused for its origin, and how often the log says it.

Whoever runs a page sees a handshake that failed, and nothing else: browsers hide the answer. So the
gateway's own log names the setting. Strangers decide how often that happens, so it has an end.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from sockets.base.rate import Bucket, Buckets

logger = logging.getLogger(__name__)

EACH: Final = 60.0
"""Seconds until the same line may be written again."""

LINES_AT_ONCE: Final = 10
"""Lines about all pages together; one more each LINE_EVERY seconds."""

LINE_EVERY: Final = 6.0

MOST: Final = 256
"""Lines that are remembered."""

_LONGEST: Final = 400
"""Characters of a setting that are repeated to its reader."""

_SERVED: Final = (
    "open it from a web server, as `python -m http.server 8000 --bind localhost` is one"
)


def remedy(
    setting: str, now: tuple[str, ...], origin: str | None, *, nowhere: bool, more: str = ""
) -> str:
    """Return one line that says what lets a page in.

    `now`: what the setting has; `origin`: that of the page, None if its request names none, or more
    than one. `nowhere`: the request says that its page has no origin. `more`: what the page needs
    beside the setting.
    """
    if nowhere:
        return (
            "a page without an origin (null) was refused, as one from a file or in a sandboxed "
            f"frame is: it is never let in; {_SERVED}, and list that origin in {setting} "
            "(in development those of localhost are let in)"
        )
    if origin is None:
        return (
            "a request was refused whose Origin header is none that a browser sends: it has to "
            f"be there once, as scheme://host[:port], and be listed in {setting}"
        )
    value = ",".join((*now, origin))
    change = f"set {setting}={value}" if len(value) <= _LONGEST else f"add {origin} to {setting}"
    return (
        f"the page {origin} was refused: if it is yours, {change} and start the gateway again{more}"
    )


class RefusalLog:
    """Writes such lines as warnings: each once in EACH seconds, and all together at most
    LINES_AT_ONCE and then one in LINE_EVERY seconds. The next one says how many were left out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._each = Buckets(rate=1 / EACH, burst=1, most=MOST)
        self._all = Bucket(time.monotonic(), rate=1 / LINE_EVERY, burst=LINES_AT_ONCE)
        self._left_out = 0

    def tell(self, line: str) -> None:
        """Write the line, or count it. Any thread."""
        now = time.monotonic()
        with self._lock:
            if self._each.take(line, now):
                self._left_out += 1
                return
            if not self._all.take(now):
                self._each.give_back(line)  # its turn comes when there is space for it
                self._left_out += 1
                return
            left_out, self._left_out = self._left_out, 0
        logger.warning("%s%s", line, f" ({left_out} such lines were left out)" if left_out else "")
