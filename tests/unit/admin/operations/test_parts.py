"""What pages are made of."""

from __future__ import annotations

import msgspec
import pytest

from sockets.admin.operations.parts import Cell, Column, Row, Table, Tiles, outside, tag, visible
from sockets.admin.shown import Tone
from tests.unit.admin.operations.values import NASTY


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kim@example.com", "kim@example.com"),
        ("김 철수 🙂", "김 철수 🙂"),
        ("👩\u200d💻 می\u200cخواهم", "👩\u200d💻 می\u200cخواهم"),
        ("a\x1b[31mred\x07", "a\\u001b[31mred\\u0007"),
        ("gnp\u202eexe", "gnp\\u202eexe"),
        ("\u2066x\u2069\u200f", "\\u2066x\\u2069\\u200f"),
        ("a\nb\tc\x00\x9b", "a\\u000ab\\u0009c\\u0000\\u009b"),
        ("a\u2028b\ufeff\u00ad", "a\\u2028b\\ufeff\\u00ad"),
        ("\U000e0041", "\\U000e0041"),
        ("a\ud800b", "a\\ud800b"),
        ("<b>&", "<b>&"),
    ],
)
def test_nothing_hides_in_a_text(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_what_is_long_is_cut_and_whole_in_its_title() -> None:
    assert outside("short", 5) == Cell("short")
    assert outside("x" * 6, 5, below="b") == Cell("xxxx…", title="x" * 6, below="b")
    assert outside("x" * 6, 5, title="own").title == "own"
    assert "\x1b" not in outside(NASTY).text and "\u202e" not in outside(NASTY).text


def test_cells_say_only_what_they_have() -> None:
    assert msgspec.json.encode(Cell()) == b"{}"
    assert msgspec.to_builtins(tag("live", Tone.GOOD)) == {"text": "live", "tone": "good"}
    assert msgspec.to_builtins(Cell(since=0.0)) == {"since": 0.0}
    assert tag("live", Tone.GOOD, fixed=True).css == "gateway-badge good gateway-fixed"


def test_what_changes_of_a_part() -> None:
    table = Table(id="t", columns=[Column("a", "A")], rows=[Row("1", [Cell("x")])], note="n")
    assert table.live() == {"rows": table.rows, "note": "n", "empty": ""}
    assert table.lines == [(table.rows[0], [(table.columns[0], Cell("x"))])]
    table.next = "7"
    assert table.live()["next"] == "7"
    tiles = Tiles(id="t", facts=[("a", Cell("1"))])
    assert tiles.live() == {"facts": tiles.facts, "note": ""}
    assert tiles.template.endswith("/tiles.html")


def test_a_row_that_lacks_a_cell_is_a_mistake_of_ours() -> None:
    table = Table(id="t", columns=[Column("a", "A"), Column("b", "B")], rows=[Row("1", [Cell()])])
    with pytest.raises(ValueError, match="shorter"):
        table.lines  # noqa: B018
