"""The state store that the settings choose."""

from __future__ import annotations

import pytest
from channels.layers import get_channel_layer
from django.conf import LazySettings

from sockets.conf import Conf
from sockets.layers.chosen import WrongLayer
from sockets.layers.memory import MemoryChannelLayer
from sockets.node.backends import backends, memory_backends, sync_backends
from sockets.node.node import Node
from sockets.types import Promises, Shards
from tests.support.doubles import MovedClock


async def test_memory_needs_nothing_that_could_be_away() -> None:
    state = backends(Conf())
    assert await state.shards() == Shards() and await state.promises() == Promises()
    state.listen_to_failures(lambda: None)
    await state.close()


async def test_no_node_is_made_on_a_layer_that_is_none_of_ours(settings: LazySettings) -> None:
    """Rule 12: at node start too, with the remedy."""
    memory = {"BACKEND": "sockets.layers.memory.MemoryChannelLayer"}
    settings.CHANNEL_LAYERS = {"default": memory}
    for conf in (Conf(layer="none"), Conf(redis_url="redis://h")):
        for make in (Node, backends, sync_backends):
            if make is sync_backends and not conf.redis_url:
                continue  # in memory mode nobody makes it
            with pytest.raises(WrongLayer, match="CHANNEL_LAYERS"):
                make(conf)


async def test_memory_mode_uses_the_alias_or_makes_a_layer(settings: LazySettings) -> None:
    """Rule 12."""
    settings.CHANNEL_LAYERS = {"own": {"BACKEND": "sockets.layers.memory.MemoryChannelLayer"}}
    theirs: object = get_channel_layer("own")
    assert backends(Conf(layer="own")).layer is theirs
    made: object = backends(Conf(layer_capacity=7)).layer
    assert isinstance(made, MemoryChannelLayer) and made is not theirs and made.capacity == 7


async def test_all_of_the_state_goes_by_one_clock() -> None:
    clock = MovedClock()
    state = memory_backends(Conf(), MemoryChannelLayer(), clock)
    clock.advance(7)
    assert await state.presence.now() == clock()
    for part in (state.streams, state.presence, state.nodes, state.tasks):
        assert vars(part)["_clock"] is clock
