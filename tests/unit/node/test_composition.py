"""How the parts of a node are put together: one clock, one name, one answer to "is it ready"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from prometheus_client import REGISTRY

from sockets.auth.keyring import KeyRing
from sockets.conf import Conf
from sockets.exceptions import GatewayUnavailable
from sockets.layers.memory import MemoryChannelLayer
from sockets.sessions.lifecycle import at_once
from sockets.types import Kind, PresenceState
from tests.support.doubles import StillNode, node_info, outbox_of, still_node


async def test_all_parts_go_by_the_clock_that_a_node_is_given() -> None:
    node = await still_node()
    session = await node.open("42")
    node.clock.advance(3)
    assert node.store_time() == node.clock() == await node.presence.now()
    await node.sessions.close(session, 1000, "")
    assert (await node.presence.look("42")).last_seen == node.clock()
    node.clock.advance(node.conf.presence_grace)
    await node.registration.beat()
    await node.tracker.tick()
    assert (await node.presence.look("42")).state is PresenceState.OFFLINE
    assert await node.nodes.count_users(node.registration.life, Kind.CLIENT) == 0


async def test_all_parts_take_another_name() -> None:
    node = await still_node()
    session, worker = await node.open("42"), await node.open_worker("p")
    await node.rename("here~1234")
    await node._renew(at_once)
    assert [one.node for one in await node.presence.sessions_of("42")] == ["here~1234"]
    assert session.info.node == worker.info.node == "here~1234"
    assert node.recorder.names == ["here~1234"]


async def test_whether_it_is_ready_and_for_how_many_is_asked_at_the_scrape() -> None:
    node = await still_node()
    await node.open("42")
    values = partial(map, REGISTRY.get_sample_value, ("gateway_ready", "gateway_users"))
    assert [*values()] == [0, 1]
    node._started = True
    await node.readiness.try_once()
    await node._renew(at_once)
    await node.open("43")
    assert [*values()] == [1, 2]


async def test_why_it_is_not_ready() -> None:
    node = await still_node(ready_lag=0)
    reasons = [node.unready_because]
    node._started = True
    reasons.append(node.unready_because)
    await node.readiness.try_once()
    await node._renew(at_once)
    reasons.append(node.unready_because)
    await node.lag()
    assert [*reasons, node.unready_because] == [
        "it is starting or stopping",
        "it is starting or stopping",
        None,
        "draining",
    ]
    assert not node.ready


async def test_workers_of_a_key_that_ended_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {"new"}
    monkeypatch.setattr(KeyRing, "is_live", lambda _, id: id in live)
    node = await still_node()
    old, new, of_settings = [
        await node.open_worker("p", key=name, jti=jti)
        for name, jti in (("a", "old"), ("b", "new"), ("c", ""))
    ]
    client = await node.open("42", jti="a token's")
    node.keys._take({})
    assert outbox_of(old).closed == (4508, "this key has ended")
    assert [one.close_code for one in (new, of_settings, client)] == [None] * 3


async def test_a_renewal_that_fails_is_noted_and_begins_the_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = await still_node()
    session = await node.open("42")
    await node._renew(at_once)

    async def away(*_: object) -> None:
        raise GatewayUnavailable("Redis is out of memory")

    monkeypatch.setattr(node.presence, "renew", away)
    seen = len(node.recorder.seen)
    with pytest.raises(GatewayUnavailable):
        await node._renew(at_once)
    assert len(node.recorder.seen) == seen + 1, "the node lives"
    assert node.doubt.active and node.doubt.here("42") == (session.info,)


async def test_rows_of_a_dead_node_are_closed() -> None:
    node = await still_node()
    node._close_rows_of(node_info("there"), 7.0)
    assert node.recorder.dead == ["there"]


async def test_webhooks_are_sent_only_where_they_are_wanted() -> None:
    plain = await still_node()
    hooked = await still_node(
        webhooks=("user_online",), api_server_url="http://127.0.0.1:1", webhook_secret="s" * 32
    )
    assert plain.webhooks is None and not plain.events.changes_wanted
    assert hooked.webhooks is not None and hooked.events.wanted("user_online")
    assert not hooked.events.wanted("user_offline")


async def test_the_recorder_keeps_rows_as_long_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule 16: 90 days unless SESSION_KEEP says otherwise."""
    kept: list[float] = []

    def recorder(*, keep: float, **_: object) -> None:
        kept.append(keep)

    monkeypatch.setattr("tests.support.doubles.RecordingRecorder", lambda: None)
    monkeypatch.setattr("sockets.node.composition.Recorder", recorder)
    StillNode()
    StillNode(session_keep=0.0)
    assert kept == [Conf().session_keep, 0.0] == [90 * 86_400.0, 0.0]


class Listening(MemoryChannelLayer):
    """Of a project: it lives longer than a node."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[Callable[[], None]] = []

    def add_gap_listener(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)

    def discard_gap_listener(self, listener: Callable[[], None]) -> None:
        self.listeners.remove(listener)


async def test_a_layer_that_lives_longer_knows_nothing_of_a_node_that_has_ended() -> None:
    """Rule 12: a layer of the project is not closed, so what a node has put there must go."""
    layer = Listening()
    node = await still_node(layer)
    assert layer.listeners == [node.renewal.hurry] and layer._fanout._sinks
    await node.stop()
    assert not layer.listeners and not layer._fanout._sinks
