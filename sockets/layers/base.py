"""What the gateway needs of a channel layer, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sockets.layers.fanout import Sink


class Layer(Protocol):
    """What the gateway needs of a channel layer: Channels' API, sinks, and its state."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...

    async def group_add_sink(self, group: str, sink: Sink) -> None: ...

    async def group_discard_sink(self, group: str, sink: Sink) -> None: ...

    def send_local(self, group: str, message: dict[str, Any]) -> None:
        """Send to the receivers in this process only, whatever the state of the bus."""

    @property
    def connected(self) -> bool:
        """Whether messages come from other processes and go to them now."""

    def add_gap_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` when messages may have been lost, and all groups are confirmed again."""

    def discard_gap_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more: the layer may live longer than a node."""

    async def close(self) -> None:
        """Let go of what this loop holds of the layer. For whoever made it."""
