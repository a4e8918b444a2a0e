"""What requests and connections need of the server that they belong to."""

from __future__ import annotations

from typing import Any, Protocol

from sockets.conf import Conf
from sockets.server.bodies import BodyMemory
from sockets.types import Surface


class Host(Protocol):
    """The server, as its requests see it."""

    conf: Conf
    bodies: dict[Surface, BodyMemory]

    def watch(self, protocol: Any) -> None:
        """Look at a connection when something may be due for it: this has just changed."""

    def surface_of(self, transport: Any) -> Surface:
        """Return the surface that the connection of this transport came by."""

    def body_limit(self, surface: Surface, path: str) -> int:
        """Return how many bytes the body of a request for this path may have."""
