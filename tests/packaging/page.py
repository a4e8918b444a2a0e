"""The page "Add it to your Django project", as what does what it says reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.gateway import ROOT

PAGE: Final = ROOT / "docs" / "add-to-your-project.md"
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PLACE: Final = re.compile(r"(?:#|\{#) ([\w/]+\.\w+)(, at its end)?(?: #\})?\n")


@dataclass(frozen=True)
class Block:
    """A block of code. `path`: the file of the project that it is for."""

    path: str
    at_the_end: bool
    text: str

    @property
    def lines(self) -> int:
        """How many of them are to be written."""
        return sum(bool(line.strip()) for line in self.text.splitlines()[1:])

    def put(self, project: Path) -> None:
        """Write it where it says."""
        file = project / self.path
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_text() if self.at_the_end and file.exists() else ""
        file.write_text(f"{before}\n{self.text}" if before else self.text)


def _placed(text: str) -> Block | None:
    found = _PLACE.match(text)
    return None if found is None else Block(found[1], found[2] is not None, text)


def blocks() -> list[Block]:
    """Every block that names its file, in order."""
    found = (_placed(text) for _, text in _BLOCK.findall(PAGE.read_text()))
    return [block for block in found if block is not None]


def commands() -> list[str]:
    """Every line that is typed at a terminal, in order."""
    texts = (text for language, text in _BLOCK.findall(PAGE.read_text()) if language == "console")
    return [line.removeprefix("$ ") for text in texts for line in text.splitlines()]
