"""The settings of a gateway to which each handshake comes late, and all the time."""

from gateway.settings import *  # noqa: F403
from sockets.server import crowd

crowd.LONG = crowd.STAYS = 0.0  # type: ignore[misc]
