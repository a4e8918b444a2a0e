"""Contracts of events: what a notification of a name carries, said once, in a class.

    from sockets.api import Event, notify_user

    class OrderPaid(Event):
        order: int
        total: str

    notify_user(request.user, OrderPaid(order=7, total="12.00"))

Contracts live in modules called `gateway_events` of the project's apps, which every process reads
at its start. `manage.py event_types` makes TypeScript and JSON Schema of them.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from sockets.exceptions import InvalidMessage

MODULE: Final = "gateway_events"
"""The module of an app in which its contracts are looked for."""

MAX_EVENT: Final = 255
"""Characters of an event's name."""

_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

contracts: Final[dict[str, type[Event]]] = {}
"""By the event's name."""


class Event(Struct, forbid_unknown_fields=True):
    """What the data of an event has, as annotated fields; a subclass for each event.

    `event`: its name; by default that of the class, `order.paid` for `OrderPaid`. Data that is
    something else raises InvalidMessage where it is sent, whether by an instance or by its name.
    """

    event: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = cls.__dict__.get("event", "") or ".".join(_WORDS.split(cls.__name__)).lower()
        if not isinstance(name, str) or len(name) > MAX_EVENT:
            # A field of that name is no string here: its values would be taken for the name.
            raise TypeError(
                f"{_place_of(cls)}: `event` is the event's name, 1 to {MAX_EVENT} characters, and "
                f"no field: event: ClassVar[str] = ...; give a field another name, or "
                f"msgspec.field(name='event')"
            )
        cls.event = name
        known = contracts.get(cls.event)
        if known is not None and _place_of(known) != _place_of(cls):
            raise TypeError(
                f"{_place_of(cls)}: the event {cls.event!r} is {_place_of(known)} already; "
                f"give one of them another name: event: ClassVar[str] = ..."
            )
        contracts[cls.event] = cls


def require_readable() -> None:
    """Raise TypeError for a contract with an annotation that says nothing: it could only fail where
    it is sent."""
    for contract in contracts.values():
        try:
            msgspec.json.Decoder(contract)
        except (NameError, TypeError) as error:
            raise TypeError(f"{_place_of(contract)}: {error}") from None


def _place_of(contract: type[Event]) -> str:
    return f"{contract.__module__}.{contract.__qualname__}"


def unpacked(event: object, data: object) -> tuple[Any, Any]:
    """Return the name and the data that are meant. Raises InvalidMessage for an Event and data, and
    for a contract in place of an Event."""
    if isinstance(event, type) and issubclass(event, Event):
        raise InvalidMessage(f"{event.__name__} is a class: give {event.__name__}(...), or a name")
    if not isinstance(event, Event):
        return event, data
    if data is not None:
        raise InvalidMessage(f"{event.event} brings its data: give either an Event, or its name")
    return event.event, event


def require_kept(event: object, data: Raw) -> None:
    """Raise InvalidMessage where data is not what the event's contract says, if it has one."""
    contract = contracts.get(event) if isinstance(event, str) else None
    if contract is None:
        return
    try:
        msgspec.json.decode(data, type=contract)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidMessage(f"{event}, by {_place_of(contract)}: {error}") from None
