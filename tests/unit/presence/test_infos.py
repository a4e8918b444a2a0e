"""The JSON of a session: what is written is what is read, whoever wrote it."""

from __future__ import annotations

import json

import pytest

from sockets.presence.infos import live, sessions, written
from sockets.types import Kind, Position
from tests.support.doubles import NOON, info

LEASE = 30.0


def row(**given: object) -> bytes:
    known = {"client_id": "C", "node": "here", "connected_at": NOON}
    return json.dumps(known | given).encode()


def test_all_of_a_session_is_kept() -> None:
    one = info(
        "42",
        agent="한",
        address="192.0.2.1",
        acked=Position("e", 3),
        acked_at=7.0,
        sid="s",
        jti="j",
        issued_at=5.0,
        info={"a": [1, None]},
    )
    assert sessions(Kind.CLIENT, "42", [one.id.encode(), written(one)]) == (one,)


def test_what_is_as_usual_takes_no_space() -> None:
    assert set(json.loads(written(info("42")))) == {"client_id", "node", "connected_at"}


def test_what_a_newer_version_adds_is_passed_over() -> None:
    (found,) = sessions(Kind.WORKER, "key", [b"S", row(mood="fine")])
    assert (found.id, found.kind, found.user, found.client_id) == ("S", Kind.WORKER, "key", "C")


def test_sessions_come_oldest_first() -> None:
    rows = [b"S2", row(connected_at=2.0), b"S1", row(connected_at=1.0)]
    assert [one.id for one in sessions(Kind.CLIENT, "42", rows)] == ["S1", "S2"]


def test_what_another_program_wrote_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    found = live(Kind.CLIENT, "42", [b"S1", b"100", b"no JSON", b"S2", b"100", row()], LEASE)
    assert [one.id for one in found] == ["S2"]
    assert "the info of session S1 cannot be read" in caplog.text


@pytest.mark.parametrize(("renewed", "seen"), [(NOON + 5, NOON + 5), (NOON - 5, NOON)])
def test_nobody_was_seen_before_they_came(renewed: float, seen: float) -> None:
    """Another version's node dates that by a clock of its own, which may be ahead."""
    one = info("42")
    rows = [one.id.encode(), f"{renewed + LEASE:.6f}".encode(), written(one)]
    (found,) = live(Kind.CLIENT, "42", rows, LEASE)
    assert found == one and found.seen_at == seen
