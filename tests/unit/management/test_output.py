"""Whatever a command was given, nothing that it writes steers a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, find_commands, load_command_class

from sockets.management.commands import sessions as command
from tests.unit.management.conftest import EVIL


@pytest.mark.parametrize("name", find_commands(str(Path(command.__file__).parents[1])))
def test_no_command_says_an_argument_back_as_it_came(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what it does not know, nor what it cannot use, nor what a stranger's error says."""
    made = load_command_class("sockets", name)

    def fail(*_: Any, **__: Any) -> None:
        raise CommandError(f"what came of it: {EVIL}")

    monkeypatch.setattr(made, "handle", fail)
    required = {
        "create_key": [EVIL, "--scope=notify"],
        "drain": [f"--node={EVIL}"],
        "end_key": [EVIL],
        "notify": [EVIL, EVIL],
    }.get(name, [])
    for more in ([], [f"--{EVIL}"], [EVIL] * 4):
        arguments = [*required, *more]
        with pytest.raises(SystemExit):
            made.run_from_argv(["manage.py", name, "--skip-checks", *arguments])
        told = capsys.readouterr()
        assert "evil" in told.err
        assert not {"\x1b", "\x9b", "\u202e", "\r", "\x07"} & set(told.out + told.err)
