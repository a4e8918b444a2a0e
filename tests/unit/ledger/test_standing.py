"""What an entry says of a message: each answer, and nothing that is not sure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockets.deliveries import Fate, LedgerEntry, MessageFacts, Standing, Why
from sockets.ledger.standing import Liveness, delivery_to
from tests.contracts.test_ledger import CLIENT, note
from tests.support.doubles import NOON

HERE, SILENT, AWAY = Liveness.HERE, Liveness.SILENT, Liveness.AWAY
GONE = [Fate.REPLACED, Fate.EXPIRED, Fate.REPLACED_OR_EXPIRED]


def entry(**given: Any) -> LedgerEntry:
    """Sent 11 to 20, and acknowledged up to 15."""
    usual = {"start": 10, "began": 10, "head": 10, "sent": 20, "acked": 15, "acked_at": NOON + 3}
    return note(**usual | {"at": NOON + 5} | given)


ENDED: dict[str, Any] = {"ended_at": NOON + 5, "code": 1001}
BACK: dict[str, Any] = {"recovered": True, "opened_at": NOON + 1}


def message(offset: int = 18, fate: Fate = Fate.KEPT, **given: Any) -> MessageFacts:
    return replace(MessageFacts("e", offset, fate, at=NOON), **given)


@pytest.mark.parametrize(
    ("offset", "given", "liveness", "standing", "at", "why"),
    [
        (15, {}, AWAY, Standing.ACKNOWLEDGED, NOON + 3, ""),
        (3, {}, AWAY, Standing.ACKNOWLEDGED, NOON + 3, ""),
        (16, {}, HERE, Standing.SENT, NOON + 5, ""),
        (20, ENDED, AWAY, Standing.SENT, NOON + 5, ""),
        (16, {}, SILENT, Standing.SENT, NOON + 5, ""),
        (18, BACK | {"head": 18}, HERE, Standing.RECOVERED, NOON + 1, ""),
        (19, BACK | {"head": 18}, HERE, Standing.SENT, NOON + 5, ""),
        (21, {}, HERE, Standing.NOT_ACKNOWLEDGED, NOON + 5, ""),
        (21, ENDED, AWAY, Standing.NOT_ACKNOWLEDGED, NOON + 5, ""),
        (21, {}, AWAY, Standing.UNKNOWN, None, Why.LOST),
        (21, {}, SILENT, Standing.UNKNOWN, None, Why.SILENT),
        (10, BACK | {"acked": None}, HERE, Standing.CLAIMED, NOON + 1, ""),
        (10, {"acked": None}, HERE, Standing.UNKNOWN, None, Why.BEFORE),
        (10, {"acked": None, "recovered": False}, HERE, Standing.UNKNOWN, None, Why.BEFORE),
        (16, {"epoch": "f"}, HERE, Standing.UNKNOWN, None, Why.EPOCH),
    ],
)
def test_each_answer(
    offset: int,
    given: dict[str, Any],
    liveness: Liveness,
    standing: Standing,
    at: float | None,
    why: str,
) -> None:
    found = delivery_to(entry(**given), message(offset), liveness)
    assert (found.standing, found.at, found.why) == (standing, at, why)
    assert (found.as_of, found.live) == (NOON + 5, liveness is not AWAY)
    assert (found.client_id, found.session, found.node) == (CLIENT, "s1", "a")


def test_who_caused_a_message_is_left_out() -> None:
    found = delivery_to(entry(), message(15, exclude_client=CLIENT), AWAY)
    assert (found.standing, found.at) == (Standing.EXCLUDED, None)
    other = delivery_to(entry(), message(15, exclude_client="another"), AWAY)
    assert other.standing is Standing.ACKNOWLEDGED


@pytest.mark.parametrize("fate", GONE)
def test_positions_do_not_tell_of_what_may_have_gone_before(fate: Fate) -> None:
    for offset in (15, 18, 21):
        found = delivery_to(entry(), message(offset, fate), AWAY)
        assert found.standing is Standing.REPLACED_OR_EXPIRED
    sent = delivery_to(entry(), message(18, fate), HERE, NOON + 2)
    assert (sent.standing, sent.at, sent.sent_at) == (Standing.SENT, NOON + 2, NOON + 2)
    assert delivery_to(entry(), message(15, fate), HERE, NOON + 2).standing is (
        Standing.ACKNOWLEDGED
    )


def test_of_what_retention_removed_positions_tell() -> None:
    assert delivery_to(entry(), message(18, Fate.TRIMMED), AWAY).standing is Standing.SENT


def test_nothing_is_said_of_a_message_that_was_never_there() -> None:
    for facts in (message(15, Fate.NOT_THERE), MessageFacts("e", None, Fate.NOT_THERE)):
        found = delivery_to(entry(), facts, HERE)
        assert (found.standing, found.why) == (Standing.UNKNOWN, Why.NOT_THERE)
