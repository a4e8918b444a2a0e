"""Receivers of groups: called in order, each once, none at the mercy of another."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest

from sockets.base import metrics
from sockets.layers.fanout import Fanout, Message


class Heard(list[Any]):
    """Remembers what its sinks were told, with their names."""

    def sink(self, name: str) -> Any:
        return partial(self._hear, name)

    def _hear(self, name: str, message: Message) -> None:
        self.append((name, message["n"]))


def errors() -> float:
    value: float = metrics.LAYER_ERRORS._value.get()
    return value


def test_sinks_are_called_in_the_order_in_which_they_came() -> None:
    fanout, heard = Fanout(), Heard()
    for name in "abc":
        fanout.add_sink("g", heard.sink(name))
    fanout.to_sinks("g", {"n": 1})
    fanout.to_sinks("other", {"n": 2})
    assert heard == [("a", 1), ("b", 1), ("c", 1)]


def test_a_sink_added_twice_is_called_once_and_gone_after_one_discard() -> None:
    fanout, heard = Fanout(), Heard()
    sink = heard.sink("a")
    fanout.add_sink("g", sink)
    fanout.add_sink("g", sink)
    fanout.to_sinks("g", {"n": 1})
    fanout.discard_sink("g", sink)
    fanout.to_sinks("g", {"n": 2})
    assert heard == [("a", 1)]
    assert "g" not in fanout


def test_a_failing_sink_stops_nobody_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    fanout, heard = Fanout(), Heard()

    def fail(message: Message) -> None:
        raise RuntimeError("a bad receiver")

    for sink in (heard.sink("a"), fail, heard.sink("b")):
        fanout.add_sink("g", sink)
    before = errors()
    with caplog.at_level(logging.ERROR):
        fanout.to_sinks("g", {"n": 1})
    assert heard == [("a", 1), ("b", 1)]
    assert errors() == before + 1
    assert "group g" in caplog.text and "a bad receiver" in caplog.text


def test_sinks_may_come_and_go_while_they_are_called() -> None:
    fanout, heard = Fanout(), Heard()
    late = heard.sink("late")

    def change(message: Message) -> None:
        fanout.discard_sink("g", change)
        fanout.add_sink("g", late)

    fanout.add_sink("g", change)
    fanout.add_sink("g", heard.sink("b"))
    fanout.to_sinks("g", {"n": 1})
    fanout.to_sinks("g", {"n": 2})
    assert heard == [("b", 1), ("b", 2), ("late", 2)]


def test_what_is_not_there_can_be_discarded() -> None:
    fanout = Fanout()
    fanout.discard_sink("g", print)
    fanout.discard_channel("g", "c")
    fanout.forget_channel("c")
    fanout.add_channel("g", "c")
    fanout.discard_channel("g", "another")
    assert fanout.channels("g") == ("c",)


def test_channels_by_group() -> None:
    fanout = Fanout()
    for group, channel in [("g", "c1"), ("g", "c2"), ("g", "c1"), ("h", "c1")]:
        fanout.add_channel(group, channel)
    assert fanout.channels("g") == ("c1", "c2")
    assert "h" in fanout
    fanout.forget_channel("c1")
    assert (fanout.channels("g"), fanout.channels("h")) == (("c2",), ())
    assert "h" not in fanout, "an empty group leaves nothing behind"


def test_clear_forgets_everybody() -> None:
    fanout, heard = Fanout(), Heard()
    fanout.add_sink("g", heard.sink("a"))
    fanout.add_channel("g", "c")
    fanout.clear()
    fanout.to_sinks("g", {"n": 1})
    assert heard == [] and "g" not in fanout
