"""Install the reactor, and then run what a process of `manage.py serve` ran before.

    python OPTIONS sockets/server/__main__.py [--watch=CLIENT,WORKER,PID] manage.py serve ...
    python OPTIONS sockets/server/__main__.py [--watch=CLIENT,WORKER,PID] -m django serve ...

Made by `sockets/server/fresh.py`. `--watch`: the process is a child of `serve --reload`, which is
the process PID, and its ports where the command says 0.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from types import TracebackType

HERE = os.path.abspath(__file__)


def main() -> None:
    """Run it; never returns where a change of a file is waited for."""
    words = sys.argv[1:] or sys.exit("this is how `manage.py serve` runs itself: run that")
    watch = words.pop(0) if words[0].startswith("--watch=") else ""
    as_module = words[0] == "-m"
    sys.argv = words[as_module:]
    if not sys.flags.safe_path:  # else nothing has been put there
        sys.path[0] = os.getcwd() if as_module else os.path.dirname(os.path.realpath(words[0]))
    _install_reactor()
    if watch:
        from sockets.server import reload

        reload.begin_watching(watch.partition("=")[2])
    try:
        if as_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        if not watch or not ended.code or ended.code == reload.CHANGED:
            raise
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)  # noqa: T201  (as Python itself does)
        reload.wait_for_change(ended)
    except Exception as error:
        error.with_traceback(_below(error.__traceback__))
        traceback.print_exception(error)
        if not watch:
            sys.exit(1)
        reload.wait_for_change(error)


def _install_reactor() -> None:
    # What runs next may find the package by a path that it makes itself.
    folder = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
    sys.path.append(folder)
    from sockets.base.extras import server_lacking
    from sockets.server.early import ENDING, end_at_once

    end_at_once()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        import sockets.server.reactor  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"CommandError: {server_lacking('manage.py serve', error)}")
    except ImportError as error:
        sys.exit(f"gateway: {error}")
    del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]


def _below(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is not of this file or what it calls."""
    while trace is not None and (trace.tb_frame.f_code.co_filename in (HERE, "<frozen runpy>")):
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    main()
