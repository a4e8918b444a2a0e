"""The page of the browser client names what `gateway.js` has, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.support.gateway import ROOT

CLIENT = (ROOT / "sockets/static/sockets/gateway.js").read_text()
PAGE = (ROOT / "docs/reference/javascript.md").read_text()
GATEWAY = CLIENT.partition("export class Gateway {")[2].partition("\n}\n")[0]


def rows(heading: str) -> list[str]:
    """The first cells of the table below a heading, without what they are called with."""
    section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.M)[1].split("\n## ")[0]
    section = section.split("\n|---")[1]
    return re.findall(r"^\| `([\w$]+)[`(].*\|$", section, re.M)


def typedef(name: str) -> str:
    """The text of a type of the client."""
    return next(part for part in CLIENT.split("/**") if f"@typedef {{object}} {name}\n" in part)


def members(text: str) -> list[str]:
    return re.findall(r"@property \{[^\n]*?\} \[?(\w+)\]?", text)


def words(union: str) -> list[str]:
    return re.findall(r'"(\w+)"', union)


def of_the_class() -> Iterable[str]:
    """Fields and methods whose names do not begin with #."""
    yield from re.findall(r"^  (?:/\*\*.*?\*/ )?(\w+)(?: = [^\n]*)?;", GATEWAY, re.M)
    named = re.findall(r"^  (?:async )?(\w+)\([^\n]*\) \{$", GATEWAY, re.M)
    yield from set(named) - {"constructor"}


def own_codes() -> set[str]:
    """The codes of the errors that the client itself makes."""
    made = re.findall(r'GatewayError\("(\w+)"', CLIENT)
    return {*made, *re.findall(r'error: \{ code: "(\w+)"', CLIENT)}


def test_every_option_is_there_and_no_other() -> None:
    taken = re.search(r"constructor\(url, \{ ([\w, ]+) \} = \{\}\)", GATEWAY)
    assert taken and set(taken[1].split(", ")) == set(members(typedef("Options")))
    assert rows("`new Gateway(url, options)`") == members(typedef("Options"))


def test_every_event_is_there_and_no_other() -> None:
    listed = re.search(r"@param \{([^}]*)\} name\n", GATEWAY)
    emitted = set(re.findall(r'#emit\("(\w+)"', GATEWAY))
    assert listed and set(words(listed[1])) == emitted
    assert set(rows("What it tells: `gateway.on(name, handler)`")) == emitted


def test_every_state_is_there_and_no_other() -> None:
    typed = re.search(r"@property \{([^}]*)\} state", typedef("Status"))
    states = set(re.findall(r'\{ state: "(\w+)"', GATEWAY))
    assert typed and set(words(typed[1])) == states
    assert set(rows("`gateway.status`")) == states
    for member in members(typedef("Status")):
        assert member in PAGE, member


def test_every_member_is_there_and_no_other() -> None:
    found = set(of_the_class())
    assert {"send", "close", "position"} <= found
    assert set(rows("Members")) == found


def test_every_code_of_an_error_is_there_and_no_other() -> None:
    assert set(rows("`GatewayError`")) == own_codes() - {"unknown"}


def test_every_export_is_there_and_no_other() -> None:
    exported = set(re.findall(r"^export (?:class|function) (\w+)", CLIENT, re.M))
    (sentence,) = re.findall(r"It exports ([^.]*)\.", PAGE)
    assert set(re.findall(r"`(\w+)`", sentence)) == exported


@pytest.mark.parametrize(
    ("constant", "told"),
    [
        ("FIRST_PAUSE = 500", "after 0.5 s"),
        ("LONGEST_PAUSE = 30_000", "up to 30 s"),
        ("ANSWER = 10_000", "no answer within 10 s"),
    ],
)
def test_its_times_are_those_of_the_client(constant: str, told: str) -> None:
    assert f"const {constant};" in CLIENT and told in PAGE


@pytest.mark.parametrize(
    "page", ["client-recipes", "coming-from-channels", "coming-from-socketio", "README"]
)
def test_whoever_asks_for_it_is_led_there(page: str) -> None:
    assert "(reference/javascript.md)" in (ROOT / f"docs/{page}.md").read_text()
