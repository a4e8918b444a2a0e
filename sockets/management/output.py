"""What commands of ours write: whatever they were given, nothing in it steers a terminal.

User ids, names of nodes, user agents and messages of errors come from strangers. Here each
character that is not printable is written as `\\u001b`, as JSON has it, in output, errors and what
the parser of arguments complains of.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

CLEAR = "\x1b[H\x1b[2J"


def harmless(text: str) -> str:
    """Return the text without what could steer a terminal; its lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def one_line(text: str) -> str:
    """Return the same, in one line: for what a stranger chose within a text of ours."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


class HarmlessOutput(OutputWrapper):
    """Django's wrapper of a stream; styles are put round what is harmless already."""

    def write(  # type: ignore[override]  # as Django has it
        self, msg: str = "", style_func: Any = None, ending: str | None = None
    ) -> None:
        super().write(harmless(str(msg)), style_func, ending)

    def clear(self) -> None:
        """Begin at the top of an empty screen."""
        stream: Any = self._out
        stream.write(CLEAR)


class GatewayCommand(BaseCommand):
    """The base of all commands of ours, whose output is harmless."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Wrap the streams, which Django makes anew wherever it likes."""
        if name in ("stdout", "stderr") and not isinstance(value, HarmlessOutput):
            made = HarmlessOutput(value._out, ending=value.ending)
            made.style_func = value.style_func
            value = made
        super().__setattr__(name, value)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        error = parser.error

        def harmless_error(message: str) -> None:
            error(harmless(message))

        parser.error = harmless_error  # type: ignore[method-assign]
        return parser
