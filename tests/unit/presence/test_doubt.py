"""A node whose own leases cannot be renewed calls nobody offline whom it last knew as present."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sockets.base.ids import new_id
from sockets.exceptions import GatewayUnavailable
from sockets.presence.base import Limit
from sockets.presence.doubt import CATCH_UP, SILENCE, Doubt
from sockets.presence.redis import RedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, close, connect
from sockets.types import Kind, PresenceState, SessionInfo
from tests.support.doubles import MovedClock, info, no_warmup
from tests.support.valkey import shared

LEASE, GRACE = 30.0, 10.0


class Asking:
    """A node on a store; `sessions`: those that it holds."""

    def __init__(self, presence: RedisPresence, clock: MovedClock) -> None:
        self.presence = presence
        self.clock = clock
        self.sessions: list[SessionInfo] = []
        self.doubt = Doubt(LEASE, self._here, clock)
        presence.believe(self.doubt)

    def _here(self, user: str) -> tuple[SessionInfo, ...]:
        return tuple(one for one in self.sessions if one.user == user)

    def renewal(self, *, works: bool) -> None:
        try:
            with self.doubt.watching():
                if not works:
                    raise GatewayUnavailable("OOM")
        except GatewayUnavailable:
            assert not works

    async def state(self, user: str) -> PresenceState:
        one = await self.presence.look(user)
        assert (await self.presence.look_at([user])).users[user] == one, (
            "the same, whichever way it is asked"
        )
        return one.state


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    clock = MovedClock()
    client = connect(shared().url)
    calls = PresenceCalls(
        Keys(f"t{new_id()}"), lease=LEASE, grace=GRACE, limit=Limit(), clock=clock
    )
    yield Asking(RedisPresence(client, calls, warm=no_warmup), clock)
    await close(client)


async def test_nobody_is_offline_while_renewals_fail(asking: Asking) -> None:
    here, elsewhere = info("here"), info("elsewhere")
    asking.sessions = [here]
    for one in (here, elsewhere):
        await asking.presence.register(one)
    asking.renewal(works=True)
    asking.renewal(works=False)
    assert await asking.state("here") == PresenceState.CONNECTED, "the leases still run"
    asking.clock.advance(LEASE + 1)
    for user in ("here", "elsewhere"):
        assert await asking.state(user) == PresenceState.IN_GRACE
    assert await asking.state("nobody") == PresenceState.OFFLINE
    assert await asking.presence.sessions_of("here") == [here]
    assert await asking.presence.is_online("here")
    for ask in (asking.presence.sessions_of, asking.presence.is_online):
        with pytest.raises(GatewayUnavailable, match="cannot be known"):
            await ask("elsewhere")
        assert not await ask("nobody")


async def test_who_left_before_is_not_called_back(asking: Asking) -> None:
    one = info("gone")
    asking.renewal(works=True)
    await asking.presence.register(one)
    await asking.presence.release(one)
    asking.renewal(works=False)
    assert await asking.state("gone") == PresenceState.IN_GRACE, "its own"
    assert not await asking.presence.is_online("gone")
    asking.clock.advance(GRACE + 1)
    assert await asking.state("gone") == PresenceState.OFFLINE
    assert await asking.presence.sessions_of("gone") == []


async def test_a_session_here_counts_whatever_the_others_decided(asking: Asking) -> None:
    """Only this node may not write: the others took it for dead, and said so."""
    one = info("here")
    asking.sessions = [one]
    await asking.presence.register(one)
    asking.renewal(works=True)
    asking.renewal(works=False)
    asking.clock.advance(LEASE + 1)
    await asking.presence.settle(["here"])
    assert await asking.state("here") == PresenceState.IN_GRACE


async def test_a_node_that_never_renewed_doubts_nothing(asking: Asking) -> None:
    await asking.presence.register(info("gone"))
    asking.clock.advance(LEASE + 1)
    asking.renewal(works=False)
    assert await asking.state("gone") == PresenceState.OFFLINE


@pytest.mark.parametrize("works", [True, False])
async def test_after_a_long_refusal_the_others_may_need_a_moment(
    asking: Asking, works: bool
) -> None:
    await asking.presence.register(info("elsewhere"))
    asking.renewal(works=True)
    asking.clock.advance(LEASE + 1)
    asking.renewal(works=works)
    asking.renewal(works=True)
    expected = PresenceState.OFFLINE if works else PresenceState.IN_GRACE
    assert await asking.state("elsewhere") == expected, "where nothing failed nobody is waited for"
    asking.clock.advance(CATCH_UP * LEASE + 0.1)
    assert await asking.state("elsewhere") == PresenceState.OFFLINE


async def test_a_single_failure_is_over_with_the_next_renewal(asking: Asking) -> None:
    await asking.presence.register(info("dies"))
    asking.clock.advance(LEASE)
    asking.renewal(works=True)
    asking.clock.advance(SILENCE * LEASE - 1)
    asking.renewal(works=False)
    assert await asking.state("dies") == PresenceState.IN_GRACE
    asking.renewal(works=True)
    assert await asking.state("dies") == PresenceState.OFFLINE


async def test_workers_have_no_grace(asking: Asking) -> None:
    await asking.presence.register(info("key", kind=Kind.WORKER))
    asking.renewal(works=True)
    asking.renewal(works=False)
    asking.clock.advance(LEASE + 1)
    assert (await asking.presence.look("key", Kind.WORKER)).state == PresenceState.OFFLINE
