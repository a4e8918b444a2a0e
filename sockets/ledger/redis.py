"""The ledger in Redis: notes of many users in one call, or on a Cluster one call a user."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sockets.deliveries import LedgerEntry
from sockets.exceptions import GatewayUnavailable
from sockets.ledger.base import (
    ERASED_TTL,
    LEDGER_TTL,
    MAX_CLIENTS,
    Note,
    PartlyWritten,
    latest_first,
)
from sockets.redis import (
    AT_ONCE,
    Call,
    Keys,
    Script,
    batches,
    is_cluster,
    is_of_its_keys,
    translated,
)

logger = logging.getLogger(__name__)

_WRITE = Script(__package__, "write", asks=True)  # what it did may be done again
_ERASE = Script(__package__, "erase")

_ERASED = b"erased"
_Grouped = Sequence[tuple[str, Sequence[LedgerEntry]]]


class RedisLedger:
    """The interface on Redis. Belongs to one event loop."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def write(self, notes: Sequence[Note]) -> None:
        by_user: dict[str, list[LedgerEntry]] = {}
        for user, note in notes:
            by_user.setdefault(user, []).append(note)
        left: _Grouped = list(by_user.items())
        if not is_cluster(self._client):
            left = await self._write_together(left)
        failed: list[tuple[Exception, str]] = []
        for some in batches(left):
            answers = await _WRITE.run_each(self._client, [self._call([one]) for one in some])
            for (user, _), answer in zip(some, answers, strict=True):
                if is_of_its_keys(answer):
                    logger.error("the ledger of user %r cannot be written: %s", user, answer)
                elif isinstance(answer, Exception):
                    failed.append((answer, user))
        if failed:
            left_over = [(user, one) for _, user in failed for one in by_user[user]]
            raise _partly(failed[0][0], left_over)

    async def _write_together(self, grouped: _Grouped) -> _Grouped:
        """Write the notes of many users by one call; returns those whose call was refused."""
        refused: list[tuple[str, Sequence[LedgerEntry]]] = []
        for start in range(0, len(grouped), AT_ONCE):
            some = grouped[start : start + AT_ONCE]
            with translated(writes=True):
                try:
                    await _WRITE.run(self._client, self._call(some))
                except ResponseError:
                    refused += some  # whatever the key of one is stops no other
        return refused

    def _call(self, grouped: _Grouped) -> Call:
        args: list[Any] = [MAX_CLIENTS, LEDGER_TTL]
        for _, notes in grouped:
            args.append(len(notes))
            for note in notes:
                args += (note.client_id, _written(note))
        return [self._key(user) for user, _ in grouped], args

    async def read(self, user: str) -> list[LedgerEntry]:
        with translated():
            found = await self._client.hgetall(self._key(user))  # type: ignore[misc]
        return latest_first(_read(found.items()))

    async def erase(self, user: str, before: float) -> int:
        with translated(writes=True):
            call = [self._key(user)], [f"{before:.6f}", ERASED_TTL]
            return int(await _ERASE.run(self._client, call))

    def _key(self, user: str) -> str:
        return self._keys.user(user, "ledger")


def _partly(error: Exception, left: Sequence[Note]) -> PartlyWritten:
    """Return what is raised because of an error. Raises one that is not of Redis as it is."""
    try:
        with translated(writes=True):
            raise error
    except GatewayUnavailable as unavailable:
        return PartlyWritten(str(unavailable), left)


def _written(entry: LedgerEntry) -> str:
    """Return an entry as it is kept; write.lua reads the first members."""
    members = (
        *(entry.epoch, entry.start, entry.sent, _maybe(entry.acked), _time(entry.acked_at)),
        *(_time(entry.at), entry.session, _time(entry.opened_at)),
        *(entry.began, entry.head, "-" if entry.recovered is None else int(entry.recovered)),
        *("".join(entry.node.split()) or "-", _time(entry.ended_at), _maybe(entry.code)),
        entry.reason,
    )
    return " ".join(map(str, members))


def _maybe(number: int | None) -> str:
    return "-" if number is None else str(int(number))


def _time(at: float | None) -> str:
    return "-" if at is None else f"{at:.6f}"


def _read(found: Iterable[tuple[bytes, bytes]]) -> Iterable[LedgerEntry]:
    for client, text in found:
        members = text.decode(errors="replace").split(" ", 14)
        if client != _ERASED and len(members) == 15:  # else of a later version
            yield _entry(client.decode(), members)


def _entry(client: str, members: Sequence[str]) -> LedgerEntry:
    (epoch, start, sent, acked, acked_at, at, session, opened, *rest) = members
    began, head, recovered, node, ended, code, reason = rest
    return LedgerEntry(
        client_id=client,
        epoch=epoch,
        start=int(start),
        sent=int(sent),
        acked=None if acked == "-" else int(acked),
        acked_at=_seconds(acked_at),
        at=float(at),
        began=int(began),
        head=int(head),
        recovered=None if recovered == "-" else recovered == "1",
        session=session,
        node=node,
        opened_at=float(opened),
        ended_at=_seconds(ended),
        code=None if code == "-" else int(code),
        reason=reason,
    )


def _seconds(text: str) -> float | None:
    return None if text == "-" else float(text)
