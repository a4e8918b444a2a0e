"""Any history of one stream, against a model of ten lines (and a bound on users beside it)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sockets.streams.base import NewEntry, Streams
from sockets.types import Page, Position
from tests.contracts.test_streams import OPTIONS, STREAMS
from tests.support.doubles import MovedClock
from tests.support.scale import scaled

SIZE, TTL, WINDOW = OPTIONS["size"], OPTIONS["ttl"], OPTIONS["idempotency_ttl"]


@dataclass
class Kept:
    offset: int
    at: float
    ends: float
    key: str | None


class Model:
    """Keeps every message and works out what is visible from the definitions alone."""

    def __init__(self) -> None:
        self.head, self.floor = 0, 0
        self.kept: list[Kept] = []
        self.receipts: dict[str, tuple[float, int]] = {}

    def pass_time(self, now: float) -> None:
        self.kept = [one for one in self.kept if now < one.ends]  # its own ttl: counts as told
        while self.kept and (len(self.kept) > SIZE or now >= self.kept[0].at + TTL):
            self.floor = self.kept.pop(0).offset  # retention: cannot be told any more
        self.receipts = {k: v for k, v in self.receipts.items() if now < v[0]}

    def append(self, now: float, names: list[str], key: str | None, ttl: float | None) -> int:
        for name in names:
            if name in self.receipts:
                return self.receipts[name][1]
        self.head += 1
        self.kept = [one for one in self.kept if key is None or one.key != key]
        self.kept.append(Kept(self.head, now, now + (ttl or 1e9), key))
        self.receipts |= dict.fromkeys(names, (now + WINDOW, self.head))
        self.pass_time(now)
        return self.head


class Histories(RuleBasedStateMachine):
    make: Any

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()
        self.model = Model()
        self.loop = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.streams: Streams
        self.epoch = ""
        self.sent = 0

    @initialize()
    def begin(self) -> None:
        self.streams = self.run(self.stack.enter_async_context(self.make(self.clock)))
        self.epoch = self.run(self.streams.head("u")).epoch

    def run(self, call: Any) -> Any:
        return self.loop.run(call)

    def append_one(self, entry: NewEntry) -> None:
        names = [f"id {entry.id}"]
        if entry.idempotency_key is not None:
            names.append(f"key {entry.idempotency_key}")
        before = self.model.head
        for _, first in (self.model.receipts.get(name, (0, before)) for name in names):
            if before - first >= SIZE:
                return  # a backend may keep as few receipts as messages
        offset = self.model.append(self.clock(), names, entry.collapse_key, entry.ttl)
        done = self.run(self.streams.append("u", entry))
        assert done.position == Position(self.epoch, offset)
        assert done.duplicate is (self.model.head == before)

    @rule(
        key=st.sampled_from([None, None, "a", "b"]),
        ttl=st.sampled_from([None, None, 5.0, 40.0]),
        repeat=st.sampled_from([None, None, None, "x", "y"]),
    )
    def append(self, key: str | None, ttl: float | None, repeat: str | None) -> None:
        self.sent += 1
        self.last = NewEntry(f"m{self.sent}", b"{}", key, ttl, repeat)
        self.append_one(self.last)

    @rule()
    def retry(self) -> None:
        """The answer to the last append was lost."""
        if self.sent:
            self.append_one(self.last)

    @rule(seconds=st.sampled_from([1.0, 4.0, 20.0, 60.0, 101.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.model.pass_time(self.clock())

    @rule(other=st.sampled_from(["v", "w"]))
    def another_user(self, other: str) -> None:
        self.run(self.streams.append(other, NewEntry(f"m{other}{self.clock()}", b"{}", "a")))

    @rule(offset=st.integers(0, 30), limit=st.integers(1, 7))
    def read(self, offset: int, limit: int) -> None:
        looked: Page = self.run(self.streams.read("u", Position(self.epoch, offset), limit))
        page: Page = self.run(self.streams.follow("u", Position(self.epoch, offset), limit))
        assert looked == page, "whoever only asks is told the same"
        visible = [one.offset for one in self.model.kept if one.offset > offset]
        assert [one.offset for one in page.entries] == visible[:limit]
        assert page.missing == len(visible)
        assert (page.epoch, page.head, page.floor) == (
            self.epoch,
            self.model.head,
            self.model.floor,
        )

    @rule()
    def read_of_a_lost_epoch(self) -> None:
        page = self.run(self.streams.read("u", Position("lost", 0), 5))
        assert (page.entries, page.epoch) == ((), self.epoch)

    @invariant()
    def the_head_is_the_number_of_appends(self) -> None:
        if self.epoch:
            assert self.run(self.streams.head("u")) == Position(self.epoch, self.model.head)

    def teardown(self) -> None:
        if self.epoch:
            self.run(self.stack.aclose())
        self.loop.close()


for _name, _make in STREAMS.items():
    _made: Any = type(f"Histories_{_name}", (Histories,), {"make": staticmethod(_make)})
    _case = _made.TestCase
    _case.settings = settings(max_examples=scaled(100, 40), stateful_step_count=40)
    globals()[f"Test{_name.title()}Histories"] = _case
    del _made, _case
