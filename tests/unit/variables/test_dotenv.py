"""A `.env` that Node's dotenv takes is taken, with the same values."""

import subprocess
import sys
from pathlib import Path

import pytest

from sockets.variables.dotenv import Line, WrongLine, lines
from sockets.variables.faults import Wrong
from sockets.variables.reader import Variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=4000", "4000"),
        ("A=4000 # browsers", "4000"),
        ("A=4000\t# browsers # and more", "4000"),
        ("A = 4000", "4000"),
        ("A: 4000", "4000"),
        ("  export   A=4000  ", "4000"),
        ("A=", ""),
        ("A= # none", ""),
        ("A=#none", ""),
        ("A='x # y'", "x # y"),
        ('A="x # y"   # z', "x # y"),
        ('A=`it\'s "so"`', 'it\'s "so"'),
        ("A='a#b'", "a#b"),
        ("A=a#b # c", "a#b"),
        ("A=a'b", "a'b"),
        ("A=redis://:p%23w@h:1/0?x=y=z", "redis://:p%23w@h:1/0?x=y=z"),
        ("A=한 글", "한 글"),
    ],
)
def test_a_line_as_dotenv_takes_it(text: str, value: str) -> None:
    (line,) = lines(text)
    assert isinstance(line, Line) and (line.name, line.value) == ("A", value)


@pytest.mark.parametrize("text", ["", "   ", "# A=1", "   # A=1", "\n\n"])
def test_what_says_nothing(text: str) -> None:
    assert list(lines(text)) == []


@pytest.mark.parametrize(
    "text",
    ["A", "=1", "1A=1", "A:1", "- A=1", "A='x", 'A="x" y', "A=`x'", "A=a # b\nB"],
)
def test_a_wrong_line_is_named_and_not_shown(text: str) -> None:
    *_, wrong = lines(text)
    assert isinstance(wrong, WrongLine) and wrong.number == len(text.splitlines())
    assert "secret" not in f"{wrong.fault} {wrong.remedy}"


def test_the_settings_read_it(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A = 4000 # browsers\nB=\"two\\nlines\"\nC=`'c'`\nno line\n")
    with pytest.raises(Wrong, match=r".env, line 4: it is neither NAME=value nor a comment"):
        Variables({}, file)
    source = Variables({"B": "given"}, file, patient=True)
    assert [source.raw(name) for name in "ABC"] == ["4000", "given", "'c'"]


def test_the_scripts_read_the_same(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A = 4000 # browsers\nB='x=y'\nbroken\n")
    command = [sys.executable, "-m", "sockets.variables.dotenv"]
    assert subprocess.check_output([*command, f"{file}"]) == b"A=4000\0B=x=y\0"
    assert subprocess.check_output([*command, f"{tmp_path / 'none'}"]) == b""
