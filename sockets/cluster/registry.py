"""What a registry of nodes promises; `tests/contracts/test_nodes.py` holds each one to it.

A node lives while its lease is renewed, and each life has an id of its own. The registry lists the
users for whom a life is responsible: from before anything is done about them until nothing about
them is left to be done or announced. So whoever finds a dead life knows what it left undone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from sockets.types import Kind, NodeInfo

LOST_TTL = 3600.0
"""Seconds that a node which died is remembered."""

MAX_LOST = 32
"""Nodes that are remembered so."""

CLAIM_TTL = 30.0
"""Seconds after which somebody else may finish what a node began for a dead one."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a node learns when it renews its lease.

    `alive`: false when this life is over: it was claimed by another node, or the store forgot it,
    or its lease had run out and another process has its name.
    `warm`: seconds for which nobody may be declared offline. `now`: the store's time.
    """

    alive: bool
    warm: float = 0.0
    now: float | None = None


class Nodes(Protocol):
    """Any method may raise GatewayUnavailable. `life`: the `id` of a NodeInfo."""

    async def beat(self, info: NodeInfo, *, begin: bool, silent: float) -> Beat:
        """Renew the lease of a life, or `begin` it: then another life of the same name is over,
        whose process did not answer.

        `silent`: seconds since this node last did. Longer than a lease, and no other node lives:
        the store was away, and a warm-up begins.
        """

    async def leave(self, life: str) -> None:
        """End a life in good order; where it is still responsible for users, others find it dead
        at once."""

    async def all(self) -> list[NodeInfo]:
        """Return the nodes that live, by name."""

    async def warm(self) -> float:
        """Return for how many seconds nobody may be declared offline."""

    async def claim(self, by: str = "") -> NodeInfo | None:
        """Claim a dead life for CLAIM_TTL seconds, and return it; None where there is none.

        `by`: the caller's own life. None where that has ended itself, which is what it looks like
        to a call that a store was long in hearing.
        """

    async def keep_claim(self, life: str) -> None:
        """Keep the claim of a dead life for CLAIM_TTL seconds more."""

    async def forget(self, life: str) -> None:
        """Forget a dead life: everything is done for it."""

    async def note_lost(self, info: NodeInfo) -> None:
        """Remember, for LOST_TTL, that a node died just now; MAX_LOST of them are."""

    async def lost(self) -> list[NodeInfo]:
        """Return the nodes that died in the last LOST_TTL seconds, the last one first. `seen_at`:
        when that was found."""

    async def add_users(self, life: str, kind: Kind, users: Collection[str]) -> None:
        """Make the life responsible for these users."""

    async def remove_users(self, life: str, kind: Kind, users: Collection[str]) -> None:
        """Make the life responsible for these users no more."""

    async def users_of(self, life: str, kind: Kind, limit: int) -> list[str]:
        """Return some of the users for whom the life is responsible; none when there are none."""

    async def users_after(
        self, life: str, kind: Kind, place: str, count: int
    ) -> tuple[list[str], str]:
        """Return about `count` of them after a place, and the next place; "" is the first, and the
        end. Who is there all the time is found; nobody else surely is, and some may come again.
        """

    async def count_users(self, life: str, kind: Kind) -> int:
        """Return for how many users the life is responsible."""
