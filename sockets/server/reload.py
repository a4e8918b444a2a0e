"""`serve --reload`: a supervisor that starts the gateway again when a file of the project changes.

Each start is a child, a process of its own, whose main thread is the server. Django's reloader
watches in a thread of the child (`django.utils.autoreload`: modules that are loaded, and templates
as under `runserver`) and ends it with exit code 3. A child that cannot serve, for a file has a
fault, shows why and watches on: the next change starts the next child.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from socket import AF_INET, AF_INET6, create_server
from typing import Any, Final, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.utils import autoreload

from sockets.conf import get_conf
from sockets.server.early import end_at_once, listened, nothing_begun
from sockets.server.fresh import command, signals_held

CHANGED: Final = 3
"""The exit code of a child that ends because a file has changed, as Django has it."""

END_GRACE: Final = 5.0
"""Seconds that a child has to end, whatever its threads do."""

ORPHANED: Final = 1.0
"""Seconds between two looks of a child whether its supervisor lives."""


# --- the supervisor


class Supervisor:
    """Runs one child after the other, until a signal comes or one ends by itself.

    Ports that are 0 are chosen here, so that all children have the same. Raises NotRunnable.
    """

    def __init__(self, host: str, client_port: int, worker_port: int) -> None:
        client, worker = chosen(host, client_port, worker_port)
        self._command = command(f"--watch={client},{worker},{os.getpid()}")
        # As under `runserver`: projects look at it before they start things of their own.
        self._environment = os.environ | {autoreload.DJANGO_AUTORELOAD_ENV: "true"}
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self) -> int:
        """Return the exit code, when no child is left. Must be called in the main thread."""
        for number in listened():
            signal.signal(number, self._end)
        while (child := self._next()) is not None:
            code = child.wait()
            if code != CHANGED and not self._ending:
                return 128 - code if code < 0 else code
        return 0

    def _next(self) -> subprocess.Popen[bytes] | None:
        with signals_held():  # no child is made that a signal could miss
            if self._ending:
                return None
            self._child = subprocess.Popen(self._command, env=self._environment)
            return self._child

    def _end(self, number: int, frame: Any) -> None:
        self._ending = True
        if self._child is not None:
            self._child.send_signal(signal.SIGINT)  # which waits for nobody
            killing = threading.Timer(END_GRACE, self._child.kill)
            killing.daemon = True
            killing.start()


def chosen(host: str, *ports: int) -> list[int]:
    """Return the ports, and in place of each 0 one that is free."""
    with ExitStack() as held:  # until all are chosen: none is chosen twice
        family = AF_INET6 if ":" in host else AF_INET
        return [
            port or held.enter_context(create_server((host, 0), family=family)).getsockname()[1]
            for port in ports
        ]


# --- the child


class Watch:
    """What a child knows of its supervisor. `client_port`, `worker_port`: instead of port 0;
    `supervisor`: its process."""

    def __init__(self, client_port: int, worker_port: int, supervisor: int) -> None:
        self.client_port, self.worker_port = client_port, worker_port
        self._supervisor = supervisor
        self.watching = False
        self.changed = False  # it ends for that reason
        self._loaded = 0.0
        threading.Thread(target=self._end_if_alone, name="supervisor", daemon=True).start()

    def begin(self) -> None:
        """Watch from now on, in a thread. To be called when the project is loaded: its modules are
        imported by one thread."""
        self.watching = True
        self._loaded = time.time()
        threading.Thread(target=self._watch, name="reloader", daemon=True).start()

    def code(self, code: int) -> int:
        """Return the exit code of this process, where the server's is `code`."""
        return CHANGED if self.changed else code

    def _watch(self) -> None:
        reloader = autoreload.get_reloader()
        try:
            autoreload.autoreload_started.send(sender=reloader)  # templates
            _look(reloader, self._loaded)
        except SystemExit:
            self.changed = True  # Django has said which file
            with suppress(ImproperlyConfigured):
                if not get_conf().redis_url:
                    sys.stderr.write("gateway: memory mode: streams and presence are lost\n")
            _end()

    def _end_if_alone(self) -> None:
        while os.getppid() == self._supervisor:  # which may have gone while Python began
            time.sleep(ORPHANED)
        _end()


_loaded: dict[str, float] = {}
"""When the files of modules were changed last, as it was when they were imported; Unix time."""

watch: Watch | None = None
"""Of a child; None in every other process."""


def begin_watching(told: str) -> None:
    """Make this process a child. `told`: by its supervisor, what `Watch` takes."""
    global watch
    autoreload.ensure_echo_on()  # a debugger that was cut off leaves it off
    client, worker, supervisor = map(int, told.split(","))
    watch = Watch(client, worker, supervisor)
    note_loads()


def note_loads() -> None:
    """Note of each module that is imported from now on as which file: one that is saved while the
    project loads is noticed too."""
    stats = SourceFileLoader.path_stats

    def noting(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
        found = stats(loader, path)
        _loaded[os.path.realpath(path)] = found["mtime"]
        return found

    SourceFileLoader.path_stats = noting  # type: ignore[assignment, method-assign]


def wait_for_change(error: BaseException) -> NoReturn:
    """Wait, in the main thread of a child that could not serve, and exit when a file changes.

    `error`: why; the files of its traceback are watched too, for Python forgets modules that could
    not be imported.
    """
    failed = time.time()
    end_at_once()  # the server has taken the signals
    sys.stderr.write("gateway: it starts again when a file changes\n")
    sys.stderr.flush()
    if watch is not None and watch.watching:
        while True:
            signal.pause()
    reloader = autoreload.get_reloader()
    reloader.extra_files |= files_of(error)
    _look(reloader, failed)
    sys.exit(CHANGED)


def _look(reloader: autoreload.BaseReloader, since: float) -> None:
    """Look at the files until one changes, and exit then; Django's reloader sees no change from
    before its first look. `since`: Unix time when those were loaded of which nothing is noted."""
    looks = reloader.tick()
    next(looks)
    for file in reloader.watched_files():
        with suppress(OSError):
            at, noted = file.stat().st_mtime, _loaded.get(str(file))
            if at > since if noted is None else at != noted:
                reloader.notify_file_changed(file)
    for _ in looks:
        pass


def files_of(error: BaseException | None) -> set[Path]:
    """Return the files that an error and its causes came from."""
    found = set()
    while error is not None:
        found |= {Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)}
        if isinstance(error, SyntaxError) and error.filename:
            found.add(Path(error.filename))
        error = error.__cause__ or error.__context__
    return {file for file in found if file.is_file()}


def _end() -> None:
    """End this process from one of its threads, in good order where the server runs."""
    if not nothing_begun():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(END_GRACE)
    os._exit(CHANGED)
