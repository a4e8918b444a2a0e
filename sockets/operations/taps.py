"""Notes the frames of a session while somebody looks: in front of its outbox, and where its frames
come in. When nobody does, nothing stands there and nothing is paid."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from sockets.delivery.hub import LocalSession
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Outbox, Write

NEVER: Final = frozenset({"connect", "refresh"})
"""Types of frames that are never noted: they hold tokens."""

_FROM_CLIENTS: Final = frozenset({"ack", "pong", "send", "sessions"})
"""Types of frames from clients whose text may be kept: of others nobody knows what is in them."""

_TOKEN: Final = '"token"'

_MAX_NAME: Final = 255
"""Characters that are noted of a type and of an event; peers choose how many they send."""


class Head(msgspec.Struct):
    """The part of a frame that is always noted."""

    type: str = ""
    event: str = ""


class Look(Protocol):
    """Takes in what the frames of sessions are. `over`: it wants no more of them."""

    @property
    def over(self) -> bool: ...

    def note(
        self, session: LocalSession, head: Head, size: int, *, inbound: bool, text: str | None
    ) -> None:
        """Note a frame. `size`: bytes. `text`: all of it; None: it is not to be kept."""


def _of_inner(name: str) -> Any:
    return property(
        lambda self: getattr(self.inner, name), lambda self, value: setattr(self.inner, name, value)
    )


class Tap:
    """Stands in front of the outbox of one session, for those who look at it."""

    on_drain = _of_inner("on_drain")
    on_stall = _of_inner("on_stall")
    on_pong = _of_inner("on_pong")

    def __init__(self, session: LocalSession) -> None:
        self.inner: Outbox = session.outbox
        self.looks: list[Look] = []
        self._session = session
        session.outbox = self
        session.tap = self

    def write(self, frame: Frame) -> Write:
        written = self.inner.write(frame)
        if written is Write.OK:
            self._note(frame.payload, inbound=False)
        return written

    def close(self, code: int, reason: str) -> None:
        for look in self._live():
            head = Head("close", str(int(code)))
            look.note(self._session, head, 0, inbound=False, text=None)
        self.inner.close(code, reason)

    def abort(self) -> None:
        self.inner.abort()

    def flow(self) -> tuple[int, int]:
        return self.inner.flow()

    def received(self, text: str | None) -> None:
        """Note a frame from the peer; None: it was binary."""
        self._note((text or "").encode("utf-8", "replace"), inbound=True)

    def tidy(self) -> None:
        """Go away if nobody looks any more."""
        self._live()

    def _live(self) -> list[Look]:
        self.looks = [look for look in self.looks if not look.over]
        if not self.looks and self._session.tap is self:
            self._session.tap = None
            self._session.outbox = self.inner
        return self.looks

    def _note(self, payload: bytes, *, inbound: bool) -> None:
        looks = self._live()
        if not looks:
            return
        head = _head_of(payload)
        if head.type in NEVER:
            return
        text = payload.decode("utf-8", "replace")
        kept = None if inbound and not _may_be_kept(head, text) else text
        for look in looks:
            look.note(self._session, head, len(payload), inbound=inbound, text=kept)


def look_at(session: LocalSession, look: Look) -> None:
    """Let somebody look at a session's frames from now on."""
    tap = session.tap if isinstance(session.tap, Tap) else Tap(session)
    if not any(one is look for one in tap.looks):
        tap.looks.append(look)


def tidy(session: LocalSession) -> None:
    """Let nothing stand in front of a session's outbox at which nobody looks any more."""
    if isinstance(session.tap, Tap):
        session.tap.tidy()


def _head_of(payload: bytes) -> Head:
    try:
        head = msgspec.json.decode(payload, type=Head)
        return Head(head.type[:_MAX_NAME], head.event[:_MAX_NAME])
    except (ValueError, RecursionError):
        return Head()


def _may_be_kept(head: Head, text: str) -> bool:
    return head.type in _FROM_CLIENTS and _TOKEN not in text
