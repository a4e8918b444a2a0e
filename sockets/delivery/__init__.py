"""The walk of a notification: `Notifier` is the way in, `Delivery` the way out to sessions."""

from sockets.delivery.compose import (
    compose,
    encode_json,
    require_event,
)
from sockets.delivery.delivery import PAGE, Delivery
from sockets.delivery.notifier import Notifier

__all__ = [
    "PAGE",
    "Delivery",
    "Notifier",
    "compose",
    "encode_json",
    "require_event",
]
