"""Who in this process listens to which group: shared by the memory layer and the Redis layer.

A receiver is a *sink* (a plain function, called at once with the decoded message) or the name of
a channel, whose queue the layer keeps. One bad receiver never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sockets.base import metrics

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]
Sink = Callable[[Message], None]
"""Must not await, block or change the message; what takes time goes to a task of the node."""


class Fanout:
    """The groups of this process. Not thread-safe: it belongs to one event loop."""

    def __init__(self) -> None:
        self._sinks: dict[str, tuple[Sink, ...]] = {}  # replaced when somebody comes or goes
        self._channels: dict[str, dict[str, None]] = {}
        self._groups: dict[str, dict[str, None]] = {}  # by channel

    def __contains__(self, group: str) -> bool:
        return group in self._sinks or group in self._channels

    def add_sink(self, group: str, sink: Sink) -> None:
        """Call `sink` with every message of `group`; adding it twice is adding it once."""
        sinks = self._sinks.get(group, ())
        if sink not in sinks:
            self._sinks[group] = (*sinks, sink)

    def discard_sink(self, group: str, sink: Sink) -> None:
        """Remove a sink; an unknown one is ignored."""
        rest = tuple(one for one in self._sinks.get(group, ()) if one != sink)
        if rest:
            self._sinks[group] = rest
        else:
            self._sinks.pop(group, None)

    def add_channel(self, group: str, channel: str) -> None:
        """Put every message of `group` into the queue of `channel`."""
        self._channels.setdefault(group, {})[channel] = None
        self._groups.setdefault(channel, {})[group] = None

    def discard_channel(self, group: str, channel: str) -> None:
        """Remove a channel; an unknown one is ignored."""
        _discard(self._channels, group, channel)
        _discard(self._groups, channel, group)

    def is_member(self, channel: str) -> bool:
        """Return whether any group has `channel`."""
        return channel in self._groups

    def forget_channel(self, channel: str) -> list[str]:
        """Take a dead channel out of all groups; returns them."""
        groups = list(self._groups.pop(channel, ()))
        for group in groups:
            _discard(self._channels, group, channel)
        return groups

    def channels(self, group: str) -> tuple[str, ...]:
        """Return the channels that listen to `group`."""
        return tuple(self._channels.get(group, ()))

    def to_sinks(self, group: str, message: Message) -> None:
        """Call the sinks of `group`; what one raises is logged and counted, the others go on."""
        for sink in self._sinks.get(group, ()):
            try:
                sink(message)
            except Exception:
                metrics.LAYER_ERRORS.inc()
                logger.exception("a receiver of group %s failed; the others go on", group)

    def clear(self) -> None:
        """Forget everybody."""
        self._sinks.clear()
        self._channels.clear()
        self._groups.clear()


def _discard(groups: dict[str, dict[str, None]], group: str, member: str) -> None:
    members = groups.get(group)
    if members is not None:
        members.pop(member, None)
        if not members:
            del groups[group]
