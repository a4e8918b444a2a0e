"""One user's presence, with time as an argument."""

from __future__ import annotations

import pytest

from sockets.presence.base import MAX_UNANNOUNCED
from sockets.presence.memory_user import User
from sockets.types import Kind, PresenceState
from tests.support.doubles import NOON, info

LEASE, GRACE = 30.0, 10.0


def visited(kind: Kind = Kind.CLIENT) -> User:
    """Somebody who came at noon and left at once."""
    user, one = User(kind, "42"), info("42", kind=kind)
    user.write(one, NOON + LEASE)
    user.arrived(NOON, "a:1", adopted=False)
    user.forget(one)
    user.left(NOON, GRACE)
    return user


def test_a_visit_is_online_then_in_grace_then_offline() -> None:
    user = visited()
    effects = user.effects()
    assert [change.online for change in effects.changes] == [True] and effects.wait == GRACE
    assert user.presence(NOON + 9, LEASE).state is PresenceState.IN_GRACE
    user.settle(NOON + 9, "a:1", 0.0, "")
    assert user.effects().wait == 1.0
    user.settle(NOON + 10, "a:1", 5.0, "")
    assert user.effects().wait == 5.0, "a warm-up"
    user.settle(NOON + 10, "a:1", 0.0, "")
    changes = user.effects().changes
    assert [change.online for change in changes] == [True, False]
    assert changes[0].generation < changes[1].generation
    assert user.presence(NOON + 10, LEASE).state is PresenceState.OFFLINE


def test_a_return_within_the_grace_is_no_change() -> None:
    user = visited()
    user.arrived(NOON + 5, "a:1", adopted=False)
    assert len(user.effects().changes) == 1 and user.state == "online"


def test_somebody_of_whom_the_store_did_not_know_is_no_change() -> None:
    user = User(Kind.CLIENT, "42")
    user.arrived(NOON, "a:1", adopted=True)
    assert user.effects().changes == () and user.state == "online"


def test_workers_have_no_state() -> None:
    user = visited(Kind.WORKER)
    assert (user.state, user.last_seen, user.effects().wait) == (None, None, None)


def test_a_lease_of_a_dead_node_is_waited_for() -> None:
    user = User(Kind.CLIENT, "42")
    for node, end in (("dead", 5.0), ("dead", 9.0), ("alive", 20.0)):
        user.write(info("42", node=node), NOON + end)
    user.settle(NOON, "", 0.0, "dead")
    assert user.effects().wait == 9.0


def test_a_lease_that_ran_out_is_lost_once_and_dates_who_was_seen() -> None:
    user, one = User(Kind.CLIENT, "42"), info("42")
    user.write(one, NOON + LEASE)
    user.purge(NOON + LEASE - 1, LEASE)
    assert user.effects().lost == () and user.rival(info("42", client_id=one.client_id)) == one
    user.purge(NOON + LEASE, LEASE)
    assert [user.effects().lost, user.effects().lost] == [(one,), ()]
    assert user.last_seen == NOON and user.rival(info("42", client_id=one.client_id)) is None


def test_a_lease_that_begins_again_is_not_lost() -> None:
    user, one = User(Kind.CLIENT, "42"), info("42")
    user.write(one, NOON)
    user.purge(NOON, LEASE)
    user.write(one, NOON + LEASE)
    assert user.effects().lost == ()


def test_of_too_many_changes_the_oldest_go_and_are_counted() -> None:
    user = User(Kind.CLIENT, "42")
    for n in range(MAX_UNANNOUNCED):
        user.arrived(NOON + n, "a:1", adopted=False)
        user.left(NOON + n, 0.0)
        user.settle(NOON + n, "a:1", 0.0, "")
    effects = user.effects()
    assert len(effects.changes) == MAX_UNANNOUNCED == effects.dropped
    assert not effects.changes[-1].online


@pytest.mark.parametrize("announced", [True, False])
def test_a_user_is_needed_until_nothing_is_left_to_be_done(announced: bool) -> None:
    user = visited()
    user.settle(NOON + GRACE, "a:1", 0.0, "")
    if announced:
        user.unannounced.clear()
    assert user.is_needed is not announced
