"""Task records in memory, where their settings are odd; else `contracts/test_tasks.py`."""

from __future__ import annotations

from sockets.tasks.memory import MemoryTaskRecords
from sockets.types import TaskState
from tests.support.doubles import MovedClock, seat, task


async def test_a_grace_shorter_than_an_offer_does_not_end_the_offer() -> None:
    """Offered to a socket that lingers, while its successor comes, goes and comes."""
    clock = MovedClock()
    records = MemoryTaskRecords(offer_ttl=10, grace=2, keep=100, history=5, clock=clock, wall=clock)
    await records.take_seat(seat())
    offer = await records.offer(task(), ())
    assert offer is not None
    await records.take_seat(new := seat())
    await records.leave_seat("k/w", new.session)
    await records.take_seat(seat())
    clock.advance(3)
    assert await records.overdue() == []
    assert await records.accept(offer.task.id, offer.id, "k/w") is not None


async def test_who_remembers_nothing_still_ends_tasks() -> None:
    clock = MovedClock()
    records = MemoryTaskRecords(offer_ttl=10, grace=2, keep=100, history=0, clock=clock, wall=clock)
    await records.take_seat(seat())
    offer = await records.offer(task(), ())
    assert offer is not None
    await records.accept(offer.task.id, offer.id, "k/w")
    ended = await records.end(offer.task.id, TaskState.DONE, worker="k/w")
    assert ended is not None and ended.state is TaskState.DONE
    assert await records.get(offer.task.id) is None
