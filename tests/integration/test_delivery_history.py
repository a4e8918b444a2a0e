"""Streams, layer, hub and delivery together, under a layer that loses, doubles and turns round.

The same promise as `tests/unit/protocol/test_recovery_history.py`, held to the real driver: once,
in order, every message told, or collapsed, expired, excluded, or a `reset`; never silence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sockets.delivery.hub import LocalSession
from sockets.layers.groups import user_group
from sockets.layers.memory import MemoryChannelLayer
from sockets.types import Notification, Position
from tests.support.doubles import WELCOME, TricklingOutbox, local_session, still_node

SIZE, TTL = 6, 100.0
PLENTY = 10_000


class HoldingLayer(MemoryChannelLayer):
    """Keeps what is sent to users, until the test says what becomes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[dict[str, Any]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.held.append(message)

    async def let_go(self, message: dict[str, Any]) -> None:
        await super().group_send(user_group("42"), message)


@dataclass
class Sent:
    """One durable message and why somebody may rightly not have been told it."""

    epoch: str
    offset: int
    key: str | None
    ends: float
    exclude: str | None


class StrictPeer:
    """Reads the frames of one session, and refuses a gap and a repetition."""

    def __init__(self, session: LocalSession, outbox: TricklingOutbox, at: Position) -> None:
        self.session, self.outbox, self.at = session, outbox, at
        self.read = 0
        self.ephemeral: list[int] = []
        self.missed = 0

    def skipped(self) -> list[tuple[Position, Position]]:
        """Read what came; from where to where it was moved without a message, for each time."""
        jumps = []
        frames = self.outbox.frames[self.read :]
        self.read += len(frames)
        for frame in frames:
            self.missed += frame.get("missed", 0)
            if frame["type"] == "reset":
                self.at = Position(frame["epoch"], frame["offset"])
                continue
            if "offset" not in frame:
                self.ephemeral.append(frame["data"])
                continue
            offset = frame["offset"]
            assert offset > self.at.offset, "told twice"
            if frame["type"] == "message":
                before = frame.get("prev", offset - 1)
                assert before == self.at.offset, "a gap that was not told"
                assert frame["data"] == [self.at.epoch, offset], "another message's offset"
                jumps.append((self.at, Position(self.at.epoch, offset - 1)))
            else:
                jumps.append((self.at, Position(self.at.epoch, offset)))
            self.at = Position(self.at.epoch, offset)
        return jumps


class Histories(RuleBasedStateMachine):
    """One user with two sessions that stay and one that goes and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.layer = HoldingLayer()
        self.house = self.runner.run(
            still_node(self.layer, history_size=SIZE, history_ttl=TTL, recovery_limit=4)
        )
        self.sent: dict[tuple[str, int], Sent] = {}
        self.peers: list[StrictPeer] = []
        self.count = 0

    def run(self, work: Any) -> Any:
        async def all() -> Any:
            done = await work
            await self.house.settle()
            return done

        done = self.runner.run(all())
        for peer in self.peers:
            self.check(peer)
        return done

    def check(self, peer: StrictPeer) -> None:
        client = peer.session.info.client_id
        for start, end in peer.skipped():
            for offset in range(start.offset + 1, end.offset + 1):
                one = self.sent[start.epoch, offset]
                newer = any(
                    other.key == one.key and other.epoch == one.epoch and other.offset > offset
                    for other in self.sent.values()
                )
                collapsed = one.key is not None and newer
                expired = self.house.clock() >= one.ends
                assert one.exclude == client or collapsed or expired, f"{offset} was passed over"

    @initialize()
    def begin(self) -> None:
        for _ in range(3):
            self.peers.append(self.run(self.open(None)))

    async def open(self, position: Position | None) -> StrictPeer:
        outbox = TricklingOutbox(PLENTY)
        session = local_session(outbox=outbox)
        opened = await self.house.sessions.open_client(session, position)
        self.house.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
        return StrictPeer(session, outbox, opened.opening.start)

    # --- what is sent

    @rule(
        key=st.sampled_from([None, None, "a", "b"]),
        ttl=st.sampled_from([None, None, 5.0]),
        exclude=st.sampled_from([None, None, 0, 2]),
    )
    def notify(self, key: str | None, ttl: float | None, exclude: int | None) -> None:
        client = None if exclude is None else self.peers[exclude].session.info.client_id

        async def send() -> None:
            head = await self.house.streams.head("42")
            at = Position(head.epoch, head.offset + 1)
            ends = self.house.clock() + (ttl or 1e9)
            self.sent[at.epoch, at.offset] = Sent(at.epoch, at.offset, key, ends, client)
            receipt = await self.house.notifier.send(
                Notification(
                    "42",
                    "e",
                    [at.epoch, at.offset],
                    collapse_key=key,
                    ttl=ttl,
                    exclude_client=client,
                )
            )
            assert (receipt.epoch, receipt.offset) == (at.epoch, at.offset)

        self.run(send())

    @rule()
    def notify_ephemeral(self) -> None:
        self.count += 1

        async def send() -> None:
            await self.house.notifier.send(Notification("42", "now", self.count, durable=False))
            await self.layer.let_go(self.layer.held.pop())

        self.run(send())

    @precondition(lambda self: self.layer.held)
    @rule(
        data=st.data(), fate=st.sampled_from(["once", "once", "once", "lost", "twice", "and later"])
    )
    def message(self, data: st.DataObject, fate: str) -> None:
        held = self.layer.held
        index = data.draw(st.integers(0, min(3, len(held) - 1)))
        message = held[index] if fate == "and later" else held.pop(index)
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            self.run(self.layer.let_go(message))

    # --- what happens meanwhile

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0, 101.0]))
    def wait(self, seconds: float) -> None:
        self.house.clock.advance(seconds)

    @rule()
    def lose_the_store(self) -> None:
        self.house.streams._here.clear()
        self.house.streams._away.clear()

    @rule(which=st.sampled_from([0, 1, 2]), room=st.sampled_from([0, 1, 2, PLENTY]))
    def outbox(self, which: int, room: int) -> None:
        async def trickle() -> None:
            self.peers[which].outbox.trickle(room)

        self.run(trickle())

    @rule()
    def renew(self) -> None:
        self.run(self.house.sessions.renew())

    @rule(known=st.booleans())
    def come_back(self, known: bool) -> None:
        old = self.peers.pop()
        self.run(self.house.sessions.close(old.session, 1006, ""))
        self.peers.append(self.run(self.open(old.at if known else None)))

    def teardown(self) -> None:
        """In the end everybody is at the head: by one renewal and a reader that takes."""

        async def finish() -> None:
            for peer in self.peers:
                peer.outbox.trickle(PLENTY)
            await self.house.sessions.renew()

        self.run(finish())
        for peer in self.peers:
            head = self.runner.run(self.house.streams.head("42"))
            assert peer.at == head, "silence"
            assert peer.session.cursor is not None and not peer.session.cursor.behind
            ephemeral = peer.ephemeral
            assert len(ephemeral) == len(set(ephemeral)) and ephemeral == sorted(ephemeral)
        self.runner.close()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=40)
