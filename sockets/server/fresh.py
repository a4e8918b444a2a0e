"""What this process runs, once more in a fresh interpreter that installs the reactor first.

`"daphne"` in INSTALLED_APPS has installed a reactor on another loop by the time that a command
runs, and nothing takes that back. So `manage.py serve` replaces its interpreter: the same process,
so that whoever has its id can go on signalling it, the same options, environment and arguments. It
runs `sockets/server/__main__.py`, which imports our reactor and then whatever was run before.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from sockets.server.early import ENDING

MAIN: Final = Path(__file__).with_name("__main__.py")

_WITH_VALUE: Final = re.compile(r"-([^-]*?)([WXcm])(.*)", re.DOTALL)
"""An option of Python's that has a value, which is the rest of the word or the next one."""


class NotRunnable(Exception):
    """It cannot be run once more: no file and no module was started, but text."""


def reactor_is_taken() -> bool:
    """Return whether somebody else has installed a reactor, so that ours cannot be any more."""
    return "twisted.internet.reactor" in sys.modules and "sockets.server.reactor" not in sys.modules


def command(*own: str) -> list[str]:
    """Return the command that runs the same in a fresh interpreter.

    `own`: options for `__main__.py`. Raises NotRunnable.
    """
    options, target = parted(sys.orig_argv[1:])
    if not sys.executable or not target or target[0] in ("-", "-c"):
        raise NotRunnable
    if target[0] != "-m":
        target = [_absolute(target[0]), *target[1:]]
    return [sys.executable, *options, str(MAIN), *own, *target]


def begin_anew() -> NoReturn:
    """Replace this process' interpreter. Raises NotRunnable."""
    words = command()
    sys.stdout.flush()
    sys.stderr.flush()
    with signals_held():
        os.execv(words[0], words)


def parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Part a command line of Python's: its own options, and what it runs with which arguments.

    The latter begins with a file, `-`, or `-m` and `-c` as a word of their own.
    """
    options: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        found = _WITH_VALUE.fullmatch(word)
        if found is not None and found[2] in "cm":
            if found[1]:
                options.append(f"-{found[1]}")
            return options, [f"-{found[2]}", *([found[3]] if found[3] else []), *rest]
        options.append(word)
        if word == "--check-hash-based-pycs" or (found is not None and not found[3]):
            options += rest[:1]
            rest = rest[1:]
    return options, rest


def _absolute(script: str) -> str:
    """Return where the script is, wherever this process has gone since it began."""
    begun = getattr(sys.modules["__main__"], "__file__", None) or script
    same = os.path.basename(begun) == os.path.basename(script)
    return os.path.abspath(begun if same else script)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let the signals that end the gateway wait. A process that is started within lets them in as
    soon as it can handle them: none is lost, and none ends it in the wrong way."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
