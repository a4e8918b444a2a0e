"""What the scripts are given, and what their answers mean; no server is asked."""

from __future__ import annotations

import json

import pytest

from sockets.exceptions import Blocked, TryAgainLater
from sockets.presence.base import Effects, Fenced, Limit
from sockets.presence.scripts import PresenceCalls, join
from sockets.redis import Keys
from sockets.types import Kind, PresenceChange, PresenceState
from tests.support.doubles import NOON, info

LEASE = 30.0
NOTHING = [[], [], b"", 0]
CALLS = PresenceCalls(
    Keys("gw"), lease=LEASE, grace=10.0, limit=Limit(3, True, 15.0), clock=lambda: NOON
)


def row(**given: object) -> bytes:
    known = {"client_id": "C", "node": "here", "connected_at": NOON}
    return json.dumps(known | given).encode()


def test_a_call_names_the_keys_of_its_user_and_begins_with_the_time() -> None:
    keys, arguments = CALLS.release(one := info("42"), "a:1", True)
    assert [str(key) for key in keys][:2] == ["gw:{42}:sessions", "gw:{42}:info"]
    time, numbers, *given = arguments
    assert (time, str(numbers).split()[0]) == (repr(NOON), str(LEASE))
    assert given == [10.0, "a:1", one.id, "1000 ", "1"]


def test_workers_have_no_grace_and_no_limit() -> None:
    _, arguments = CALLS.register(info("key", kind=Kind.WORKER), "")
    assert arguments[2] == "" and arguments[7:9] == [0, ""]
    _, arguments = CALLS.register(info("42"), "")
    assert arguments[2] == 10.0 and arguments[7:9] == [3, "1"]


def test_a_renewal_has_all_sessions_of_its_user() -> None:
    infos = [info("42"), info("42")]
    keys, arguments = CALLS.renew(Kind.CLIENT, "42", infos, "")
    assert keys[0] == "gw:{42}:sessions"
    assert arguments[10::3] == [infos[0].id, infos[1].id]


def test_many_users_are_extended_in_one_call() -> None:
    mine, others = info("42"), [info("43"), info("43")]
    keys, arguments = CALLS.extend([("42", [mine]), ("43", others)])
    parts = ("sessions", "info", "clients", "state", "revoked")
    assert keys == [f"gw:{{{user}}}:{part}" for user in ("42", "43") for part in parts]
    assert arguments[:3] == [repr(NOON), LEASE, 600.0]
    assert arguments[3:5] == [1, mine.id]
    assert arguments[6:8] == [2, others[0].id] and arguments[9] == others[1].id


def test_what_is_written_is_what_is_read() -> None:
    one = info("42", agent="한", address="192.0.2.1", sid="s", jti="j", info={"a": [1]})
    _, arguments = CALLS.register(one, "")
    done = CALLS.registered(info("42"), [NOTHING, b"", [one.id.encode(), arguments[6]], []])
    assert done.replaced == (one,) and done.refused is None


@pytest.mark.parametrize(("answer", "kind"), [(b"blocked", Blocked), (b"stale", TryAgainLater)])
def test_a_refusal_is_an_error_that_the_peer_can_be_told(answer: bytes, kind: type) -> None:
    assert isinstance(CALLS.registered(info("42"), [NOTHING, answer, [], []]).refused, kind)


def test_effects_are_in_order() -> None:
    changes = [b"8", b"offline 7.5 a:1", b"7", b"online 7.0 a:1"]
    lost = [b"L2", row(connected_at=2.0), b"L1", row(connected_at=1.0)]
    effects = CALLS.effects(Kind.CLIENT, "42", [[changes, lost, b"2.5", 1]])
    assert effects.changes == (
        PresenceChange("42", True, 7, 7.0),
        PresenceChange("42", False, 8, 7.5),
    )
    assert [one.id for one in effects.lost] == ["L1", "L2"]
    assert (effects.wait, effects.dropped) == (2.5, 1)


@pytest.mark.parametrize(
    ("state", "grace", "warm", "expected"),
    [
        (b"grace", b"3.0", 0.0, PresenceState.IN_GRACE),
        (b"grace", b"-3.0", 0.0, PresenceState.OFFLINE),
        (b"online", b"0", 3.0, PresenceState.IN_GRACE),  # a warm-up: they may only not be back
        (b"online", b"0", 0.0, PresenceState.OFFLINE),
        (b"offline", b"0", 3.0, PresenceState.OFFLINE),
        (b"", b"0", 3.0, PresenceState.OFFLINE),
    ],
)
def test_presence_without_a_lease(
    state: bytes, grace: bytes, warm: float, expected: PresenceState
) -> None:
    answer = [state, grace, b"7.0"]
    found = CALLS.presence(Kind.CLIENT, "42", answer, warm)
    assert (found.state, found.last_seen) == (expected, 7.0)
    assert CALLS.depends_on_warmth(answer) is (state == b"online")


def test_an_answer_that_came_too_late_is_told_apart() -> None:
    assert CALLS.is_late([NOTHING, b"7.0"]) and not CALLS.is_late([NOTHING])
    assert not CALLS.is_late(ConnectionError("away"))


def test_a_fenced_session_is_told_why() -> None:
    effects = CALLS.renewed(Kind.CLIENT, "42", [NOTHING, [b"S", b"4503 replaced by a newer one"]])
    assert effects.fenced == (Fenced("S", 4503, "replaced by a newer one"),)


def test_effects_of_many_are_joined_and_nobody_waits_for_several() -> None:
    many = [Effects(wait=2.0, dropped=1), Effects(fenced=(Fenced("S", 1, ""),), dropped=2)]
    assert join(many) == Effects(fenced=(Fenced("S", 1, ""),), dropped=3)
