"""Whatever a command was given, nothing that it writes steers a terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, find_commands, load_command_class
from django.core.management.base import OutputWrapper

from sockets.management.commands import sessions as command
from sockets.management.output import GatewayCommand, harmless, one_line
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
        "forget_user": [EVIL],
        "notify": [EVIL, EVIL],
    }.get(name, [])
    for more in ([], [f"--{EVIL}"], [EVIL] * 4):
        arguments = [*required, *more]
        with pytest.raises(SystemExit):
            made.run_from_argv(["manage.py", name, "--skip-checks", *arguments])
        told = capsys.readouterr()
        assert "evil" in told.err
        assert not {"\x1b", "\x9b", "\u202e", "\r", "\x07"} & set(told.out + told.err)


@pytest.mark.parametrize(
    ("text", "in_lines", "in_one"),
    [
        ("plain 한 🎉", "plain 한 🎉", "plain 한 🎉"),
        ("a\tb\nc", "a\tb\nc", r"a\u0009b\u000ac"),
        ("\x1b[2J\r", r"\u001b[2J\u000d", r"\u001b[2J\u000d"),
        ("\u202e\ud800", r"\u202e\ud800", r"\u202e\ud800"),
        ("\U000e0001", r"\udb40\udc01", r"\udb40\udc01"),
    ],
)
def test_what_is_not_printable_is_written_as_json_has_it(
    text: str, in_lines: str, in_one: str
) -> None:
    assert (harmless(text), one_line(text)) == (in_lines, in_one)


def test_a_command_writes_what_is_harmless_wherever_it_writes() -> None:
    class Command(GatewayCommand):
        def handle(self, *args: Any, **options: Any) -> None:
            self.stdout.write(EVIL)
            self.stderr.write(EVIL)
            self.stdout = OutputWrapper(out)
            self.stdout.write(EVIL, self.style.SUCCESS)

    out, error = StringIO(), StringIO()
    call_command(Command(), stdout=out, stderr=error)
    for text in (out.getvalue(), error.getvalue()):
        assert r"\u001b[2J" in text and not {"\x9b", "\r", "\x07"} & set(text)
    assert out.getvalue().count("evil") == 2
