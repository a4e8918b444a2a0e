"""The state store that the settings choose."""

from __future__ import annotations

from sockets.conf import Conf
from sockets.layers.memory import MemoryChannelLayer
from sockets.node.backends import backends, memory_backends
from sockets.types import Promises, Shards
from tests.support.doubles import MovedClock


async def test_memory_needs_nothing_that_could_be_away() -> None:
    state = backends(Conf())
    assert await state.shards() == Shards() and await state.promises() == Promises()
    state.listen_to_failures(lambda: None)
    await state.close()


async def test_all_of_the_state_goes_by_one_clock() -> None:
    clock = MovedClock()
    state = memory_backends(Conf(), MemoryChannelLayer(), clock)
    clock.advance(7)
    assert await state.presence.now() == clock()
    for part in (state.streams, state.presence, state.nodes, state.tasks):
        assert vars(part)["_clock"] is clock
