"""The page of the browser client names what the client has, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import pytest

from tests.support.gateway import ROOT

FOLDER = ROOT / "clients/js/src"
SOURCES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.js"))}
CLIENT, TYPES = SOURCES["client.js"], SOURCES["types.js"]
PAGE = (ROOT / "docs/reference/javascript.md").read_text()
GATEWAY = CLIENT.partition("export class Gateway {")[2].partition("\n}\n")[0]
BUILT = (ROOT / "sockets/static/sockets/gateway.js").read_text()


def rows(heading: str) -> list[str]:
    """The names in the first cells of the table below a heading, without their arguments."""
    section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.M)[1].split("\n## ")[0]
    table = section.split("\n|---")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", table, re.M)
    return [name for cell in cells for name in re.findall(r"`([\w$]+)[`(]", cell)]


def typedef(name: str) -> str:
    """The text of a type of the client."""
    return next(part for part in TYPES.split("/**") if f"@typedef {{object}} {name}\n" in part)


def members(text: str) -> list[str]:
    return re.findall(r"@property \{.*?\} \[?(\w+)\]?(?=  |\n)", text)


def words(union: str) -> list[str]:
    return re.findall(r'"(\w+)"', union)


def of_the_class() -> Iterable[str]:
    """Fields, getters and methods whose names do not begin with #."""
    yield from re.findall(r"^  (?:/\*\*.*?\*/ )?(\w+)(?: = [^\n]*)?;", GATEWAY, re.M)
    named = re.findall(r"^  (?:async |get )?(\w+)\([^\n]*\) \{$", GATEWAY, re.M)
    yield from set(named) - {"constructor"}


def codes(*names: str) -> set[str]:
    """The codes of the errors that these files make."""
    text = "".join(SOURCES[name] for name in names)
    made = re.findall(r'(?:GatewayError|refused)\("(\w+)"', text)
    return {*made, *re.findall(r'error: \{ code: "(\w+)"', text)}


def test_every_option_is_there_and_no_other() -> None:
    assert rows("`new Gateway(url, options)`") == members(typedef("Options"))


def test_every_own_name_is_there_and_no_other() -> None:
    own = set(members(typedef("Own")))
    listed = re.search(r"const OWN = \{(.*?)\}", SOURCES["emitter.js"])
    assert listed and set(re.findall(r"(\w+): 1", listed[1])) == own
    assert set(rows("What it tells: `gateway.on(name, handler)`")) == own


def test_every_state_is_there_and_no_other() -> None:
    typed = re.search(r"@property \{([^}]*)\} state", typedef("Status"))
    states = set(re.findall(r'state: "(\w+)"', GATEWAY))
    assert typed and set(words(typed[1])) == states
    assert set(rows("`gateway.status`")) == states
    for member in members(typedef("Status")):
        assert member in PAGE, member


def test_every_member_is_there_and_no_other() -> None:
    found = set(of_the_class())
    assert {"send", "close", "position"} <= found
    assert set(rows("Members")) == found


def test_every_code_of_an_error_is_there_and_no_other() -> None:
    others = {"queue.js", "react.js"}
    assert set(rows("`GatewayError`")) == codes(*SOURCES.keys() - others) - {"unknown"}
    queue = PAGE.split("\n## The queue\n")[1].split("\n## ")[0]
    for code in codes("queue.js") - {"bad_message"}:
        assert f"`{code}`" in queue, code


def test_every_export_is_there_and_no_other() -> None:
    exported = re.findall(r"^export \{ ([\w, ]+) \} from", SOURCES["gateway.js"], re.M)
    (sentence,) = re.findall(r"It exports ([^.]*)\.", PAGE)
    assert set(re.findall(r"`(\w+)`", sentence)) == set(", ".join(exported).split(", "))


@pytest.mark.parametrize("entry", ["queue", "react"])
def test_every_other_entry_is_there(entry: str) -> None:
    for name in re.findall(r"^export (?:class|function) (\w+)", SOURCES[f"{entry}.js"], re.M):
        assert re.search(rf'{name}\b[^\n]* from "django-gateway-client/{entry}"', PAGE), name


@pytest.mark.parametrize(
    ("file", "constant", "told"),
    [
        ("clock.js", "FIRST_PAUSE = 500", "after 0.5 s"),
        ("clock.js", "LONGEST_PAUSE = 30_000", "up to 30 s"),
        ("link.js", "ANSWER = 10_000", "no answer within 10 s"),
        ("client.js", "LINGER = 10_000", "(10 s at most)"),
        ("client.js", "LONGEST_EVENT = 255", "1 to 255 characters"),
        ("intake.js", "MOST_HELD = 1_000", "more than 1,000 messages"),
        ("intake.js", "LARGEST_HELD = 1_048_576", "or 1 MB"),
        ("iterate.js", "MOST_WAITING = 1_000", "At most 1,000 wait"),
        ("refresher.js", "SOONEST = 10_000", "again after 10 s"),
        ("refresher.js", "LONGEST = 300_000", "up to 5 minutes"),
    ],
)
def test_its_bounds_are_those_of_the_client(file: str, constant: str, told: str) -> None:
    assert f"const {constant};" in SOURCES[file] and told in PAGE


def test_what_is_served_was_built_of_these_sources() -> None:
    """`npm run build` in clients/js writes both. Whether it is the very same, Node can say."""
    digest = hashlib.sha256("".join(SOURCES.values()).encode()).hexdigest()
    assert f"/* The client of gateway.v1, built from clients/js ({digest[:16]})" in BUILT


@pytest.mark.parametrize(
    "page", ["client-recipes", "coming-from-channels", "coming-from-socketio", "README"]
)
def test_whoever_asks_for_it_is_led_there(page: str) -> None:
    assert "(reference/javascript.md)" in (ROOT / f"docs/{page}.md").read_text()
