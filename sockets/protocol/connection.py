"""The liveness of one connection: when to ping, when to give up, when it has asked for too much.

A state machine over clock readings (`now`: monotonic seconds, always an argument). The node's
heartbeat calls `tick` when something may be `due`, and does what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from sockets.base.rate import Bucket
from sockets.codes import CloseCode

MAX_BAD_FRAMES = 16
"""Frames in a row that could not be read, until the peer is closed with 4500."""

MAX_REFUSED = 100
"""Frames above the rate that are answered with an error, until the peer is closed with 4506."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close this connection."""

    code: CloseCode
    reason: str


@dataclass(frozen=True, slots=True)
class TooFast:
    """This frame is not handled; the peer should wait."""

    seconds: float


class SendPing:
    """Send a ping."""


SEND_PING = SendPing()


class Connection:
    """What the gateway knows of one peer's liveness.

    `heartbeat` None: this peer did not ask for `gateway.v1` and is pinged by the server below us.
    `expires_at`: wall-clock second at which its token ends, or None. `buckets`: how many frames it
    may send; each must have a token for it. `round_trip`: seconds from the last ping to its pong;
    None: there was none yet.
    """

    __slots__ = (
        "_bad_frames",
        "_buckets",
        "_drained",
        "_heartbeat",
        "_held_since",
        "_next_ping",
        "_pong_timeout",
        "_pong_until",
        "_refused",
        "_slow_timeout",
        "_stalled_since",
        "expires_at",
        "round_trip",
    )

    def __init__(
        self,
        now: float,
        *,
        heartbeat: float | None,
        pong_timeout: float,
        slow_timeout: float,
        expires_at: float | None = None,
        buckets: Sequence[Bucket] = (),
    ) -> None:
        self._heartbeat = heartbeat
        self._pong_timeout = pong_timeout
        self._slow_timeout = slow_timeout
        self._next_ping = None if heartbeat is None else now + heartbeat
        self._pong_until: float | None = None
        self._held_since: float | None = None
        self._stalled_since: float | None = None
        self._drained = 0
        self._bad_frames = 0
        self._buckets = tuple(buckets)
        self._refused = 0
        self.expires_at = expires_at
        self.round_trip: float | None = None

    def tick(self, now: float, wall: float, waiting: int, drained: int) -> Close | SendPing | None:
        """Return what is due now. `waiting`, `drained`: bytes, as `Outbox.flow` gives them."""
        if waiting == 0 or drained != self._drained:
            self._drained = drained
            self._stalled_since = now if waiting else None
        elif self._stalled_since is None:
            self._stalled_since = now
        elif now - self._stalled_since >= self._slow_timeout:
            return Close(CloseCode.SLOW_CONSUMER, "slow consumer: read faster, then recover")
        if self.expires_at is not None and wall >= self.expires_at:
            return Close(CloseCode.TOKEN_EXPIRED, "token expired: reconnect with a new one")
        if self._pong_until is not None:
            # While frames wait and drain, the pong may come after a reply that waits for space.
            if now >= self._pong_until and not waiting and self._held_since is None:
                return Close(CloseCode.NO_PONG, "no pong")
        elif self._next_ping is not None and now >= self._next_ping:
            return SEND_PING
        return None

    def due(self, now: float, wall: float) -> float:
        """Return the moment from which on `tick` may have something to do; infinity: never, unless
        a token or a stall is noted."""
        if self._stalled_since is not None:
            return now
        due = inf if self.expires_at is None else now + self.expires_at - wall
        if self._next_ping is not None:
            due = min(due, self._next_ping)  # which waits for the pong to the last one
        return due if self._pong_until is None else min(due, self._pong_until)

    def stalled(self, now: float, drained: int) -> None:
        """Note that bytes were left over, of which the socket has taken `drained` so far."""
        if self._stalled_since is None:
            self._stalled_since, self._drained = now, drained

    def hold(self, now: float) -> None:
        """Expect no pong: the peer is not read while it waits for others."""
        self._held_since = now

    def release(self, now: float) -> None:
        """Expect a pong again: the peer is read. The time that it was held does not count."""
        if self._held_since is not None and self._pong_until is not None:
            self._pong_until += now - self._held_since
        self._held_since = None

    def ping_sent(self, now: float) -> None:
        """Expect a pong: the outbox took a ping. A full outbox is no reason to expect one."""
        if self._heartbeat is not None:
            self._pong_until = now + self._pong_timeout
            self._next_ping = now + self._heartbeat

    def pong(self, now: float) -> None:
        """Note that the peer answered; an unasked pong does no harm."""
        if self._pong_until is not None:
            self.round_trip = max(0.0, now - self._pong_until + self._pong_timeout)
        self._pong_until = None

    def stalled_for(self, now: float) -> float:
        """Return for how many seconds the socket has taken nothing of what waits for it."""
        return 0.0 if self._stalled_since is None else now - self._stalled_since

    def frame(self, now: float) -> TooFast | Close | None:
        """Count a frame; None: handle it. A peer that slows down when refused begins anew."""
        empty = next((bucket for bucket in self._buckets if not bucket.take(now)), None)
        if empty is None:
            self._refused = max(0, self._refused - 1)
            return None
        self._refused += 1
        if self._refused >= MAX_REFUSED:
            return Close(CloseCode.RATE_LIMIT, "too many messages, again and again")
        return TooFast(empty.wait())

    def takes(self, now: float) -> bool:
        """Count a frame as `frame` does, unless it came too fast."""
        if not all(bucket.take(now) for bucket in self._buckets):
            return False
        self._refused = max(0, self._refused - 1)
        return True

    def charge(self, frames: int) -> None:
        """Count the last frame as so many more: it cost as much."""
        for bucket in self._buckets:
            bucket.charge(frames)

    def bad_frame(self) -> Close | None:
        """Count a frame that is no JSON."""
        self._bad_frames += 1
        if self._bad_frames >= MAX_BAD_FRAMES:
            return Close(CloseCode.BAD_REQUEST, f"{MAX_BAD_FRAMES} bad frames in a row")
        return None

    def good_frame(self) -> None:
        """Begin to count bad frames anew: one made sense."""
        self._bad_frames = 0
