"""What the pages of the operations room are made of: facts, tiles, tables and stories.

One value has two readers: the template at load, and the page's script, which gets the same as JSON
every second. Texts are in the reader's language by then; nothing here is HTML.
"""

from __future__ import annotations

import time
import unicodedata
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import force_setattr

from sockets.admin.shown import Tone, duration

_SHOWN_AS_CODE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LONGEST: Final = 1e12
"""Seconds of the longest time span that is shown; Python's own have an end, too."""

_JOINERS: Final = frozenset("\u200c\u200d")
"""Part of how some languages and emoji are written."""


def visible(text: str) -> str:
    """Return a text in which nothing hides, turns the line round or steers a terminal: control and
    format characters, and halves of surrogate pairs, are shown as their code points."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(one: str) -> str:
    if unicodedata.category(one) not in _SHOWN_AS_CODE or one in _JOINERS:
        return one
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"


class Cell(Struct, frozen=True, omit_defaults=True):
    """One value.

    `below`: a second line in small. `title`: what is shown when the pointer rests on it. `tone`: of
    a badge. `since`: seconds since the epoch; how long ago that is stands in place of a text, and
    goes on. `fixed`: in a type in which digits and capitals do not look alike. All texts of it are
    `visible`, whoever chose them.
    """

    text: str = ""
    below: str = ""
    title: str = ""
    href: str = ""
    tone: str = ""
    since: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        for name in ("text", "below", "title"):
            shown = visible(getattr(self, name))
            if shown is not getattr(self, name):
                force_setattr(self, name, shown)

    @property
    def css(self) -> str:
        """Return the classes of the text."""
        words = ["gateway-badge", self.tone] if self.tone else []
        return " ".join([*words, "gateway-fixed"] if self.fixed else words)

    @property
    def stamp(self) -> str:
        """Return `since` as the page's script reads it, whatever the language."""
        return f"{self.since or 0.0:.3f}"

    @property
    def lapsed(self) -> str:
        """Return how long ago `since` is, as of now."""
        seconds = max(0.0, time.time() - (self.since or 0.0))
        return duration(timedelta(seconds=min(seconds, _LONGEST)))


def outside(text: str, limit: int = 64, **more: Any) -> Cell:
    """Return a cell of a text that somebody else has chosen, cut to `limit` characters."""
    whole = visible(text)
    if len(whole) <= limit:
        return Cell(whole, **more)
    return Cell(f"{whole[: limit - 1]}…", **({"title": whole} | more))


def tag(text: object, tone: Tone, **more: Any) -> Cell:
    """Return a coloured word."""
    return Cell(str(text), tone=tone.value, **more)


class Row(Struct, frozen=True, omit_defaults=True):
    """One row of a table; `key` is the same for the same thing however often it is asked for."""

    key: str
    cells: list[Cell]
    href: str = ""


class Column(Struct, frozen=True, omit_defaults=True):
    """`name`: of the stylesheet. `order`: the address that sorts by it, and `sorted` "ascending" or
    "descending" where it is so already."""

    name: str
    label: str
    number: bool = False
    order: str = ""
    sorted: str = ""


class Part(Struct, omit_defaults=True, kw_only=True):
    """A part of a page. `id`: of the element. `note`: a line below it."""

    kind = ""
    id: str
    title: str = ""
    note: str = ""

    @property
    def template(self) -> str:
        """Return what shows it."""
        return f"admin/sockets/operations/{self.kind}.html"

    def live(self) -> dict[str, Any]:
        """Return what of it changes."""
        return {"note": self.note}


class Facts(Part, kw_only=True):
    """Labels and what they say, once: of a session, of a user."""

    kind = "facts"
    facts: list[tuple[str, Cell]]

    def live(self) -> dict[str, Any]:
        return {"note": self.note, "facts": self.facts}


class Tiles(Facts, kw_only=True):
    """Labels and their numbers, in large."""

    kind = "tiles"


class Table(Part, kw_only=True):
    """Rows. `empty`: what is said where there are none. `pick`: rows can be chosen; what for, says
    the page. `next`: what the script asks for rows after these with; they come above the others.
    """

    kind = "table"
    columns: list[Column]
    rows: list[Row]
    empty: str = ""
    pick: bool = False
    next: str = ""

    def live(self) -> dict[str, Any]:
        told = {"note": self.note, "rows": self.rows, "empty": self.empty}
        return told | ({"next": self.next} if self.next else {})

    @property
    def lines(self) -> list[tuple[Row, list[tuple[Column, Cell]]]]:
        """Return each row with its cells beside their columns."""
        return [(row, list(zip(self.columns, row.cells, strict=True))) for row in self.rows]


class Story(Part, kw_only=True):
    """What happened, in its order: when ("" where that is not known), and what."""

    kind = "story"
    steps: list[tuple[Cell, Cell]]

    def live(self) -> dict[str, Any]:
        return {"note": self.note, "steps": self.steps}


class Charts(Part, kw_only=True):
    """Pictures of the last hour, drawn by a script. `samples`: by name, each as long as `at`;
    `whole`: they are all of the hour, and not what is new of it. `labels`: of pictures and lines,
    by name.
    """

    kind = "charts"
    samples: dict[str, list[Any]]
    labels: dict[str, Any]
    whole: bool = True

    def live(self) -> dict[str, Any]:
        return {"samples": self.samples, "whole": self.whole}
