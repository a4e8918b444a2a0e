"""What the ledger is told of sessions: only what has changed, and every end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sockets.base import metrics
from sockets.deliveries import LedgerEntry
from sockets.delivery.hub import LocalSession
from sockets.exceptions import GatewayUnavailable
from sockets.ledger.base import Note, PartlyWritten
from sockets.ledger.memory import MemoryLedger
from sockets.sessions import bookkeeper
from sockets.sessions.bookkeeper import AGAIN, Bookkeeper
from sockets.types import Notification, Position
from tests.support.doubles import (
    WELCOME,
    MovedClock,
    StillNode,
    TricklingOutbox,
    local_session,
    still_node,
)


class ListeningLedger(MemoryLedger):
    """Remembers each call; refuses them while it is `away`."""

    def __init__(self) -> None:
        super().__init__(max_users=100, clock=MovedClock())
        self.calls: list[Sequence[tuple[str, LedgerEntry]]] = []
        self.away = False
        self.away_for: set[str] = set()  # users of a shard that is away

    async def write(self, notes: Sequence[Note]) -> None:
        if self.away:
            raise GatewayUnavailable("Redis cannot be reached")
        self.calls.append(notes)
        await super().write([note for note in notes if note[0] not in self.away_for])
        if left := [note for note in notes if note[0] in self.away_for]:
            raise PartlyWritten("a shard cannot be reached", left)


@pytest.fixture
async def node() -> StillNode:
    return await still_node()


@pytest.fixture
def ledger(node: StillNode) -> ListeningLedger:
    made = ListeningLedger()
    node.ledger = made
    node.sessions.books = Bookkeeper(made, node.store_time)
    return made


async def arrived(
    node: StillNode, position: Position | None = None, *, named: bool = True, **given: Any
) -> LocalSession:
    session = local_session(**given)
    opened = await node.sessions.open_client(session, position, named=named)
    await node.sessions.welcome(session, opened, WELCOME)
    return session


async def sent(node: StillNode, count: int = 1) -> None:
    for _ in range(count):
        await node.notifier.send(Notification("42", "e"))


async def entry(ledger: ListeningLedger) -> LedgerEntry:
    (found,) = await ledger.read("42")
    return found


def acknowledge(node: StillNode, session: LocalSession, offset: int) -> None:
    assert session.cursor is not None
    session.info = replace(
        session.info, acked=Position(session.cursor.epoch, offset), acked_at=node.store_time()
    )


async def test_a_renewal_tells_how_far_a_session_has_come(
    node: StillNode, ledger: ListeningLedger
) -> None:
    session = await arrived(node)
    await sent(node, 3)
    acknowledge(node, session, 2)
    await node.sessions.renew()
    found = await entry(ledger)
    assert (found.start, found.sent, found.acked) == (0, 3, 2)
    assert (found.began, found.head, found.recovered, found.ended_at) == (0, 0, None, None)
    assert (found.session, found.client_id) == (session.info.id, session.info.client_id)


async def test_where_nothing_has_changed_nothing_is_written(
    node: StillNode, ledger: ListeningLedger
) -> None:
    session = await arrived(node)
    await node.sessions.renew()
    assert len(ledger.calls) == 1
    await node.sessions.renew()
    assert len(ledger.calls) == 1
    acknowledge(node, session, 0)
    await node.sessions.renew()
    assert len(ledger.calls) == 2


async def test_an_entry_does_not_end_under_a_live_session(
    node: StillNode, ledger: ListeningLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await arrived(node)
    await node.sessions.renew()
    later = node.store_time() + AGAIN
    monkeypatch.setattr(node.sessions.books, "_clock", lambda: later)
    await node.sessions.renew()
    assert len(ledger.calls) == 2


async def test_the_end_is_written_with_its_code(node: StillNode, ledger: ListeningLedger) -> None:
    session = await arrived(node)
    await sent(node)
    await node.sessions.close(session, 1001, "gone")
    found = await entry(ledger)
    assert (found.sent, found.code, found.reason) == (1, 1001, "gone")
    assert found.ended_at == found.at


async def test_a_client_without_an_id_of_its_own_is_not_there(
    node: StillNode, ledger: ListeningLedger
) -> None:
    session = await arrived(node, named=False)
    await node.sessions.renew()
    await node.sessions.close(session, 1001, "")
    assert ledger.calls == []


async def test_how_a_session_came_back_is_told(node: StillNode, ledger: ListeningLedger) -> None:
    await sent(node, 5)
    epoch = (await node.streams.head("42")).epoch
    await arrived(node, Position(epoch, 2))
    await node.sessions.renew()
    found = await entry(ledger)
    assert (found.recovered, found.began, found.head) == (True, 2, 5)
    assert (found.start, found.sent) == (2, 5)


async def test_whoever_is_told_to_reload_begins_there(
    ledger: ListeningLedger, node: StillNode
) -> None:
    """It read too slowly, and what it lacked has gone meanwhile."""
    outbox = TricklingOutbox(space=1)
    session = await arrived(node, outbox=outbox)
    size = node.conf.history_size
    await sent(node, size + 5)
    outbox.trickle(space=1_000)
    await asyncio.sleep(0.05)
    await node.sessions.renew()
    assert {"type": "reset"}.items() <= outbox.frames[-1].items()
    found = await entry(ledger)
    assert found.start == found.sent == size + 5 and found.began == 0
    assert session.cursor is not None and session.cursor.start == size + 5


async def test_many_notes_share_a_call(node: StillNode, ledger: ListeningLedger) -> None:
    sessions = [await arrived(node, user=f"u{n}") for n in range(40)]
    await node.sessions.renew()
    assert len(ledger.calls) <= 20, "at most one for each part of a round"
    ledger.calls.clear()
    await asyncio.gather(*(node.sessions.close(one, 1001, "") for one in sessions))
    assert len(ledger.calls) <= 3
    assert sum(map(len, ledger.calls)) == 40


async def test_a_ledger_that_is_away_hears_of_it_later(
    node: StillNode, ledger: ListeningLedger, caplog: pytest.LogCaptureFixture
) -> None:
    staying, going = await arrived(node), await arrived(node, user="43")
    ledger.away = True
    await node.sessions.close(going, 1001, "")
    await node.sessions.renew()
    await sent(node)
    ledger.away = False
    await node.sessions.renew()
    assert (await entry(ledger)).session == staying.info.id
    assert [one.code for one in await ledger.read("43")] == [1001]
    assert caplog.text.count("told later") == 1


async def test_what_waits_for_a_ledger_that_stays_away_is_bounded(
    node: StillNode, ledger: ListeningLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "MAX_LATE", 2)
    node.sessions.books = Bookkeeper(ledger, node.store_time)
    before = metrics.dropped_ledger._value.get()
    ledger.away = True
    for n in range(5):
        await node.sessions.close(await arrived(node, user=f"u{n}"), 1001, "")
    assert metrics.dropped_ledger._value.get() - before == 3
    ledger.away = False
    await node.sessions.renew()
    assert [len(await ledger.read(f"u{n}")) for n in range(5)] == [0, 0, 0, 1, 1]


async def test_a_shard_that_is_away_stops_no_note_of_another(
    node: StillNode, ledger: ListeningLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "BATCH", 2)
    going = [await arrived(node, user=f"away{n}") for n in range(3)]
    staying = [await arrived(node, user=user) for user in ("42", "away9", "43")]
    ledger.away_for = {"away0", "away1", "away2", "away9"}
    for session in going:
        await node.sessions.close(session, 1001, "")
    await node.sessions.books.note(staying)
    assert [len(await ledger.read(user)) for user in ("42", "43")] == [1, 1]
    ledger.calls.clear()
    await node.sessions.books.note(staying)
    told = [user for notes in ledger.calls for user, _ in notes]
    assert "42" not in told and "43" not in told and "away9" in told
    ledger.away_for = set()
    await node.sessions.books.note(staying)
    assert [one.code for n in range(3) for one in await ledger.read(f"away{n}")] == [1001] * 3
    assert len(await ledger.read("away9")) == 1
