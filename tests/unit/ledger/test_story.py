"""The story of a message: what happened, in order, with times."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.deliveries import Fate, MessageFacts, Step, StepCode
from sockets.ledger.standing import Liveness, delivery_to
from sockets.ledger.story import Told, story_of
from sockets.types import PresenceState, UserPresence
from tests.contracts.test_ledger import CLIENT, note
from tests.support.doubles import NOON, info

OFFLINE = UserPresence("u", PresenceState.OFFLINE, (), NOON + 6)


def story(facts: MessageFacts, *told: Told, user: UserPresence = OFFLINE) -> list[Step]:
    return story_of(facts, now="e", floor=2, head=30, told=told, user=user)


def codes(steps: list[Step]) -> list[str]:
    return [step.code.value for step in steps]


def told(facts: MessageFacts, liveness: Liveness, **given: Any) -> Told:
    usual = {"opened_at": NOON - 5, "sent": 20, "acked": 10, "acked_at": NOON - 1, "at": NOON + 4}
    entry = note(**usual | given)
    return delivery_to(entry, facts, liveness), entry


def test_a_message_that_was_sent_and_not_acknowledged() -> None:
    facts = MessageFacts("e", 15, Fate.KEPT, event="paid", at=NOON, size=7)
    away = told(facts, Liveness.AWAY, ended_at=NOON + 5, code=1001, reason="gone")
    steps = story(facts, away)
    assert codes(steps) == ["connected", "appended", "sent", "ended", "away"]
    assert [step.at for step in steps] == [NOON - 5, NOON, NOON + 4, NOON + 5, NOON + 6]
    assert steps[1].values == {"offset": 15, "epoch": "e", "size": 7, "event": "paid"}
    assert steps[2].values == {"sent": 20, "acked": 10}
    assert steps[3].values == {"code": 1001, "reason": "gone"}
    assert {step.client_id for step in steps} == {CLIENT, ""}


def test_a_node_that_was_killed() -> None:
    facts = MessageFacts("e", 25, Fate.KEPT, at=NOON + 5)
    steps = story(facts, told(facts, Liveness.AWAY))
    assert codes(steps) == ["connected", "lost", "appended", "away", "unknown"]
    assert steps[-1].values == {"sent": 20, "acked": 10, "why": "lost"}


def test_a_user_of_whom_nothing_is_known() -> None:
    facts = MessageFacts("e", 25, Fate.KEPT, at=NOON)
    nobody = UserPresence("u", PresenceState.OFFLINE)
    assert codes(story(facts, user=nobody)) == ["appended", "away", "nobody"]


def test_who_is_connected_is_said() -> None:
    facts = MessageFacts("e", 20, Fate.KEPT, at=NOON)
    user = UserPresence("u", PresenceState.CONNECTED, (info(), info()), NOON)
    steps = story(facts, told(facts, Liveness.HERE), user=user)
    assert codes(steps) == ["connected", "appended", "sent", "online"]
    assert steps[-1].values == {"sessions": 2}


@pytest.mark.parametrize(
    ("fate", "code", "values"),
    [
        (Fate.NOT_THERE, StepCode.NOT_FOUND, {"head": 30}),
        (Fate.OTHER_EPOCH, StepCode.OTHER_EPOCH, {"epoch": "d", "now": "e"}),
        (Fate.TRIMMED, StepCode.TRIMMED, {"floor": 2}),
        (Fate.REPLACED, StepCode.REPLACED, {"by": 9}),
        (Fate.EXPIRED, StepCode.EXPIRED, {}),
        (Fate.REPLACED_OR_EXPIRED, StepCode.REPLACED_OR_EXPIRED, {}),
    ],
)
def test_where_the_message_is(fate: Fate, code: StepCode, values: dict[str, Any]) -> None:
    epoch = "d" if fate is Fate.OTHER_EPOCH else "e"
    facts = MessageFacts(epoch, 5, fate, replaced_by=9, expires_at=NOON + 1)
    found = [step for step in story(facts, told(facts, Liveness.AWAY)) if step.code is code]
    assert [step.values for step in found] == [values]
    assert found[0].at == (NOON + 1 if fate is Fate.EXPIRED else None)
