"""The lines of a `.env` file, as Node's dotenv takes them: a service's file goes on working. Only a
`#` that no space stands before is a part of the value here, for secrets have one.

`python -m sockets.variables.dotenv FILE` writes what the file sets, each NAME=value ended by a zero
byte, for scripts/run; a file that is not there sets nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)(?:\s*=|:(?=\s))\s*(.*?)\s*\Z")
_QUOTED = re.compile(r"""(['"`])((?:\\.|(?!\1).)*)\1\s*(?:\#.*)?\Z""")
_COMMENT = re.compile(r"(?:\A|\s+)#.*\Z")


@dataclass(frozen=True, slots=True)
class Line:
    """One assignment. `escaped`: its value was in double quotes, where a backslash escapes."""

    name: str
    value: str
    escaped: bool = False


@dataclass(frozen=True, slots=True)
class WrongLine:
    """A line that cannot be read: its number, from 1, the fault and the remedy, and never its
    text."""

    number: int
    fault: str
    remedy: str


def lines(text: str) -> Iterator[Line | WrongLine]:
    """Yield what each line says; nothing for empty ones and comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _read(number, line)


def _read(number: int, line: str) -> Line | WrongLine:
    if (found := _LINE.match(line)) is None:
        return WrongLine(number, "it is neither NAME=value nor a comment", "mend it")
    name, value = found.groups()
    if value.startswith(("'", '"', "`")):
        if (quoted := _QUOTED.match(value)) is None:
            fault = "its value begins with a quote that does not end at the end of the line"
            return WrongLine(number, fault, "close it, or put the value in other quotes")
        return Line(name, quoted[2], escaped=quoted[1] == '"')
    return Line(name, _COMMENT.sub("", value))


def main(file: Path) -> None:
    """Write the assignments of a file, each ended by a zero byte."""
    if file.is_file():
        for line in lines(file.read_text("utf-8-sig")):
            if isinstance(line, Line):
                sys.stdout.write(f"{line.name}={line.value}\0")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
