"""Finds the first of this node's sessions that fit: in slices, so that a look at all of them keeps
nobody waiting."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from sockets.delivery.hub import TOGETHER, Hub, LocalSession
from sockets.operations.health import Look, buffered_of, lag_of
from sockets.operations.wire import Found, Query
from sockets.reports import Health, LiveSession, Order
from sockets.types import Kind

SLICE: Final = 250
"""Sessions looked at before other work of the loop gets its turn."""

MAX_LIMIT: Final = 200
"""Sessions in one answer."""

MAX_KNOWN: Final = 1_000
"""Sessions of one user, or of the workers of one key, among which the first are found."""

Key = Callable[[LocalSession], tuple[Any, str]]

_KEYS: Final[dict[Order, Key]] = {
    Order.CONNECTED: lambda one: (one.info.connected_at, one.info.id),
    Order.USER: lambda one: (one.info.user, one.info.id),
    Order.LAG: lambda one: (lag_of(one), one.info.id),
    Order.BUFFERED: lambda one: (buffered_of(one), one.info.id),
    Order.ROUND_TRIP: lambda one: (one.connection.round_trip or 0.0, one.info.id),
}

_SHOWN_KEYS: Final[dict[Order, Callable[[LiveSession], tuple[Any, str]]]] = {
    Order.CONNECTED: lambda one: (one.info.connected_at, one.info.id),
    Order.USER: lambda one: (one.info.user, one.info.id),
    Order.LAG: lambda one: (one.lag, one.info.id),
    Order.BUFFERED: lambda one: (one.buffered, one.info.id),
    Order.ROUND_TRIP: lambda one: (one.round_trip or 0.0, one.info.id),
}


def parse_order(text: str) -> tuple[Order, bool]:
    """Return by what is sorted, and whether it is turned round. Raises ValueError."""
    return Order(text.removeprefix("-")), text.startswith("-")


def first_of(sessions: list[LiveSession], query: Query) -> list[LiveSession]:
    """Return the first of the sessions that several nodes have found."""
    order, turned = parse_order(query.order)
    return sorted(sessions, key=_SHOWN_KEYS[order], reverse=turned)[: query.limit]


async def find(hub: Hub, query: Query, look: Callable[[], Look]) -> Found:
    """Return the first sessions that fit, and how many do."""
    order, turned = parse_order(query.order)
    limit = min(query.limit, MAX_LIMIT)
    if query.ids is not None and not query.either:
        now = look()
        some = islice(query.ids, MAX_KNOWN)
        known = [one for id in some if (one := hub.get(id)) is not None]
        fitting = [one for one in known if _fits(one, query, now)]
        first = heapq.nlargest if turned else heapq.nsmallest
        return _found(hub, first(limit, fitting, key=_KEYS[order]), len(fitting), now)
    if order is Order.CONNECTED and _is_any(hub, query):
        # In the order in which they came, which is that of their age.
        newest = list(islice(hub.in_order(newest_first=turned), limit))
        return _found(hub, newest, len(hub), look())
    best, matching = await _walk(hub, query, look, _KEYS[order], turned, limit)
    return _found(hub, best, matching, look())


async def _walk(
    hub: Hub, query: Query, look: Callable[[], Look], key: Key, turned: bool, limit: int
) -> tuple[list[LocalSession], int]:
    first = heapq.nlargest if turned else heapq.nsmallest
    best: list[LocalSession] = []
    matching = 0
    for some in slices(hub):
        now = look()
        fitting = [one for one in some if _fits(one, query, now)]
        matching += len(fitting)
        if fitting:
            best = first(limit, [*best, *fitting], key=key)
        await asyncio.sleep(0)
    return best, matching


def slices(hub: Hub) -> Iterator[list[LocalSession]]:
    """Iterate over all sessions, SLICE at a time; they may come and go between two slices."""
    for _, part in hub.parts(TOGETHER):
        members = list(part)
        for start in range(0, len(members), SLICE):
            yield members[start : start + SLICE]


async def census(hub: Hub, look: Callable[[], Look]) -> dict[Health, int]:
    """Count the sessions by their health."""
    counts = dict.fromkeys(Health, 0)
    for some in slices(hub):
        now = look()
        for session in some:
            counts[now.health(session)] += 1
        await asyncio.sleep(0)
    return counts


def _is_any(hub: Hub, query: Query) -> bool:
    """Whether every session of this node fits."""
    if query.kind is not None and hub.count(query.kind) != len(hub):
        return False
    return Query(order=query.order, limit=query.limit, kind=query.kind) == query


def _fits(session: LocalSession, query: Query, look: Look) -> bool:
    return query.fits(session.info) and (
        query.health is None or look.health(session) is query.health
    )


def _found(hub: Hub, sessions: list[LocalSession], matching: int, look: Look) -> Found:
    shown = [look.report(one) for one in sessions]
    total = sum(hub.count(kind) for kind in Kind)
    return Found(shown, total, matching, look.wall)
