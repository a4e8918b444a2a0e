"""What `serve --reload` knows without processes; those are in tests/acceptance/test_reload.py."""

from __future__ import annotations

import threading
from pathlib import Path

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
    watch = reload.Watch(0, 0)
    watch.changed = changed
    assert watch.code(code) == told
