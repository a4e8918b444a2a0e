"""What `serve --reload` knows without processes; those are in tests/acceptance/test_reload.py."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from sockets.server import reload


def test_production_is_refused_with_the_remedy(settings: Settings) -> None:
    """Rule 14."""
    settings.GATEWAY = settings.GATEWAY | {"environment": "production"}
    with pytest.raises(CommandError, match=r"^--reload is for development, .*: leave it out"):
        call_command("serve", reload=True)


def test_ports_are_chosen_once_and_differ() -> None:
    """Rule 14."""
    client, worker = reload.chosen("127.0.0.1", 0, 0)
    assert client and worker and client != worker
    assert reload.chosen("::1", 0, 4001)[1] == 4001


def test_a_file_that_could_not_be_imported_is_watched(tmp_path: Path) -> None:
    """Rule 14: whichever error was made of that."""
    broken, caller = tmp_path / "broken.py", tmp_path / "caller.py"
    broken.write_text("def")
    caller.write_text("def call():\n    compile('def', FILE, 'exec')\n")
    names: dict[str, object] = {"FILE": str(broken)}
    exec(compile(caller.read_text(), caller, "exec"), names)
    call = names["call"]
    assert callable(call)
    with pytest.raises(SystemExit) as ended:
        try:
            call()
        except SyntaxError:
            try:
                raise ValueError
            except ValueError:
                raise SystemExit(1) from None
    assert {broken, caller} <= reload.files_of(ended.value)


@pytest.mark.parametrize(("code", "changed", "told"), [(0, False, 0), (1, False, 1), (0, True, 3)])
def test_the_exit_code_says_whether_a_file_has_changed(
    code: int, changed: bool, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 14."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    watch = reload.Watch(0, 0, 1)
    watch.changed = changed
    assert watch.code(code) == told


class Reloader:
    """Looks at these files once, and notes which it was told of."""

    def __init__(self, *files: Path) -> None:
        self._files, self.told = files, list[Path]()

    def tick(self) -> Iterator[None]:
        yield

    def watched_files(self) -> tuple[Path, ...]:
        return self._files

    def notify_file_changed(self, file: Path) -> None:
        self.told.append(file)


def test_a_module_that_is_saved_while_the_project_loads_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 14: a second save comes while the child of the first one begins."""
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)
    monkeypatch.setattr(reload, "_loaded", {})
    monkeypatch.syspath_prepend(tmp_path / "link")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    file, other = tmp_path / "real" / "loaded_here.py", tmp_path / "other.py"
    file.write_text("N = 1")
    other.write_text("")
    reload.note_loads()
    importlib.import_module("loaded_here")
    reloader: Any = Reloader(file, other)
    reload._look(reloader, time.time() + 60)
    assert reloader.told == []
    os.utime(file, (1, 1))  # older: another branch
    reload._look(reloader, time.time() + 60)
    assert reloader.told == [file]
    reload._look(reloader, 0)
    assert reloader.told == [file, file, other]


def test_a_child_whose_supervisor_has_gone_before_it_began_ends() -> None:
    """Rule 14: nobody is its parent any more, and it cannot ask who was."""
    code = (
        "from sockets.server import early, reload\nearly.end_at_once()\n"
        "reload.begin_watching('1,2,999999999')\ninput()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        assert child.wait(20) == reload.CHANGED
    finally:
        child.kill()
        child.communicate()
