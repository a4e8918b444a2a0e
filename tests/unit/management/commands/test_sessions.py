"""`manage.py sessions`: what it shows, to people and to programs."""

from __future__ import annotations

import json
import time
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sockets.exceptions import GatewayUnavailable
from sockets.management.commands import sessions as command
from sockets.types import NodeInfo, Position, PresenceState, UserPresence
from tests.support.doubles import info
from tests.unit.management.conftest import EVIL


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the gateway answers."""
    now = time.time()
    node = NodeInfo("a:1", "a", 7, "h", "0.1", now - 7300, "ready", 2, 1, 2, 0.25, 50 << 20)
    answers: dict[str, Any] = {
        "nodes": [node],
        "sessions": [info("42", node="a", connected_at=now - 90, agent="Firefox")],
        "user": UserPresence("42", PresenceState.OFFLINE, (), now - 200),
    }
    monkeypatch.setattr(command, "nodes", lambda: answers["nodes"])
    monkeypatch.setattr(command, "live_sessions", lambda **given: answers["sessions"])
    monkeypatch.setattr(command, "presence_of", lambda user: answers["user"])
    return answers


def shown(*arguments: str) -> str:
    out = StringIO()
    call_command("sessions", *arguments, stdout=out)
    return out.getvalue()


def test_nodes_and_sessions_in_columns(told: dict[str, Any]) -> None:
    lines = shown().splitlines()
    assert " ".join(lines[0].split()) == (
        "node state clients workers users cpu memory up pid version"
    )
    assert " ".join(lines[1].split()) == "a ready 2 1 2 25% 50 MB 2 h 7 0.1"
    assert lines[3].split()[:4] == ["user", "kind", "client", "id"]
    assert lines[4].startswith("42 ") and "1 min" in lines[4] and lines[4].endswith("Firefox")
    assert lines[5] == "… of about 3: --limit, --node or --user show others"


def test_no_gateway_here(told: dict[str, Any]) -> None:
    told["nodes"], told["sessions"] = [], []
    assert "no gateway runs here: start manage.py serve" in shown()


def test_a_user_who_is_not_there(told: dict[str, Any]) -> None:
    text = shown("--user", "42")
    assert "user 42: offline, last seen 20" in text and "(3 min ago)" in text
    assert "nobody is connected" in text


def test_nothing_that_a_stranger_chose_steers_the_terminal(told: dict[str, Any]) -> None:
    told["sessions"] = [info("\x1b[2J\n\u202eevil", agent="x" * 300)]
    text = shown()
    assert "\x1b" not in text and "\u202e" not in text and "evil" in text
    assert max(map(len, text.splitlines())) < 250


def test_nor_does_the_user_who_is_asked_for(told: dict[str, Any]) -> None:
    told["user"] = UserPresence(f"{EVIL}\nuser 42: online", PresenceState.OFFLINE, (), None)
    first = shown("--user", "x").splitlines()[0]
    assert first == (
        "user \\u001b[2J\\u009b31m\\u202e\\u000d\\u0007evil\\u000auser 42: online: offline"
    )
    assert "no node" in (text := shown("--node", EVIL)) and "\x1b" not in text


def test_nor_do_objects_for_programs_which_are_the_same(told: dict[str, Any]) -> None:
    told["sessions"] = [info(EVIL + "\U000e0001", agent="한")]
    text = shown("--json")
    assert "한" in text and all(c.isprintable() for c in text.rstrip("\n"))
    assert json.loads(text)["user"] == EVIL + "\U000e0001"


def test_one_object_a_line_for_programs(told: dict[str, Any]) -> None:
    told["sessions"] = [info("한"), info("42", acked=Position("e", 3))]
    found = [json.loads(line) for line in shown("--json", "--limit", "2").splitlines()]
    assert [one["user"] for one in found] == ["한", "42"]
    assert found[1]["acked"] == {"epoch": "e", "offset": 3}


def test_watching_draws_the_page_anew_until_ctrl_c(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("sockets.management.commands.sessions.time.sleep", pause)
    text = shown("--watch", "--interval", "0.5")
    assert pauses == [0.5] * 3 and text.count("\x1b[H\x1b[2J") == 3


@pytest.mark.parametrize(
    "wrong",
    [
        ("--limit", "0"),
        ("--watch", "--interval", "0"),
        ("--watch", "--interval", "nan"),
        ("--watch", "--interval", "inf"),
    ],
)
def test_numbers_that_are_none(told: dict[str, Any], wrong: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="1 to 10,000"):
        shown(*wrong)


def test_an_outage_is_one_line(told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise GatewayUnavailable("Redis cannot be reached")

    monkeypatch.setattr(command, "nodes", away)
    with pytest.raises(CommandError, match="Redis cannot be reached"):
        shown()


def test_no_such_node(told: dict[str, Any]) -> None:
    told["sessions"] = []
    assert "no node 'z' lives" in shown("--node", "z")
