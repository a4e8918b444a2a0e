"""What a user had proved, and does not count any more: all of it, one login, one token.

Proofs are dated by their issuer (`iat`), mostly in whole seconds. A token of the very second of a
revocation may be from before or after it: it is refused with 4003, and the client comes back with a
new one, which the next second makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from sockets.exceptions import Refused, Revoked, TokenExpired
from sockets.types import SessionInfo

REVOKED_TTL: Final = 30 * 24 * 3600.0
"""Seconds that a revocation is remembered; no token should live longer."""

MAX_REVOKED: Final = 256
"""Logins and tokens of one user; then all that was proved before the newest of them is revoked."""

USER: Final = "user"
REVOKED: Final = "authentication revoked: sign in again"
DOUBTFUL: Final = "this token is of the second of a revocation: get a new one"


def login(sid: str) -> str:
    """What a revocation of one login is called."""
    return f"sid:{sid}"


def token(jti: str) -> str:
    """What a revocation of one token is called."""
    return f"jti:{jti}"


def names_of(info: SessionInfo) -> Iterator[str]:
    """Every name by which this session's proof can be revoked."""
    yield USER
    if info.sid:
        yield login(info.sid)
    if info.jti:
        yield token(info.jti)


class Revocations:
    """Of one user; as in user.lua. Times are seconds since the epoch."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, float]] = {}  # name -> before, when that was asked

    def add(self, name: str, before: float, now: float) -> None:
        """What is called so, and was proved before, counts no more."""
        entries = {
            known: entry for known, entry in self._entries.items() if now - entry[1] < REVOKED_TTL
        }
        if len(entries) >= MAX_REVOKED and name not in entries:
            entries = {USER: (max(before for before, _ in entries.values()), now)}
        earlier = entries.get(name, (before, now))[0]
        entries[name] = (max(before, earlier), now)
        self._entries = entries

    def over(self, now: float) -> bool:
        """Whether all of them can be forgotten."""
        return all(now - asked >= REVOKED_TTL for _, asked in self._entries.values())

    def refusal(self, info: SessionInfo, now: float) -> Refused | None:
        """Why this session may not be; None: it may."""
        found = None
        for name in names_of(info):
            before, asked = self._entries.get(name, (0.0, -REVOKED_TTL))
            if now - asked >= REVOKED_TTL:
                continue
            issued = info.issued_at
            if issued is None or issued < math.floor(before):
                return Revoked(REVOKED)
            if issued < before:
                found = TokenExpired(DOUBTFUL) if issued.is_integer() else Revoked(REVOKED)
        return found
