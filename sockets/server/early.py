"""Signals until the server listens to them: nothing has begun yet, so the process just ends.

Django takes a second to import, and as process 1 of a container a signal without a handler is
lost: the platform would wait for the end in vain. Imports nothing that takes time.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Final

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that end the gateway."""


def end_at_once() -> None:
    """From now on a signal ends the process with 0, without a word.

    To be called in the main thread, as early as can be.
    """
    for number in listened():
        signal.signal(number, _end)


def listened() -> list[signal.Signals]:
    """Return the signals of `ENDING` that end the gateway: SIGHUP not where it was ignored at the
    start, as `nohup` has it."""
    return [
        number
        for number in ENDING
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]


def nothing_begun() -> bool:
    """Return whether a signal would still end the process just so."""
    return signal.getsignal(signal.SIGINT) is _end


def _end(number: int, frame: Any) -> None:
    # An exception could be caught by whatever is being imported.
    os._exit(0)
