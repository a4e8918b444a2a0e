"""The loop that the calls of a process without sockets share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockets.api import remote
from sockets.api.remote import Remote
from sockets.conf import Conf
from sockets.exceptions import GatewayUnavailable
from sockets.node.core import Core
from tests.support.doubles import MovedClock, StillNode, still_node


@pytest.fixture
async def here() -> StillNode:
    return await still_node()


def test_a_loop_that_does_not_begin_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []

    def never(main: Any, name: str) -> None:
        begun.append(name)

    monkeypatch.setattr(remote, "run_in_thread", never)
    monkeypatch.setattr(remote, "START_TIMEOUT", 0.01)
    found = Remote(Conf(redis_url="redis://127.0.0.1:1"))
    for _ in range(2):
        with pytest.raises(GatewayUnavailable, match="did not begin") as caught:
            found.call(lambda core: core.nodes.all())
        assert caught.value.outcome == "nothing"
    assert begun == ["gateway-remote"] * 2, "the next call tries again"


async def test_the_time_of_calls_is_the_store_s(here: StillNode) -> None:
    """The clock of this host is an hour late; nodes go by the store's."""
    late = MovedClock()
    late.now = here.clock.now - 3600
    core = Core(replace(here.conf, node_name="api"), state=here.state, wall=late)
    assert core.store_time() < here.clock.now - 3000
    found = Remote(here.conf)

    async def time_of(core: Core) -> float:
        return core.store_time()

    told = await found._answerable(core, time_of)
    assert here.clock.now - 60 <= told <= here.clock.now + 60
