"""What became of one message for each session: the log, the node's answer, the lease's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sockets import api
from sockets.delivery.delivery_log import DeliveryLog
from sockets.delivery.hub import LocalSession
from sockets.node.node import Node
from sockets.types import Outcome, Position
from tests.support.doubles import (
    WELCOME,
    MovedClock,
    TricklingOutbox,
    local_session,
    running_node,
)


def test_the_journal_remembers_so_many_and_no_more() -> None:
    clock = MovedClock(5.0)
    log = DeliveryLog(3, clock)
    for offset in range(1, 6):
        log.note("e", offset, [] if offset == 4 else ["s"], ["s"] if offset == 4 else [])
        clock.advance(1)
    assert [log.find("s", "e", n) for n in range(1, 6)] == [
        *(None, None),
        *((7.0, False), (8.0, True), (9.0, False)),
    ]
    assert log.find("other", "e", 5) is log.find("s", "other", 5) is None
    assert len(log._noted) == 3


async def opened(node: Node, session: LocalSession) -> LocalSession:
    result = await node.sessions.open_client(session, None)
    node.delivery.begin(result.room, session, WELCOME, result.opening, result.page)
    return session


async def test_each_session_has_its_own_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with running_node(monkeypatch, tmp_path) as node:
        author, slow, reader = [
            await opened(node, local_session("42", outbox=outbox))
            for outbox in (None, TricklingOutbox(), None)
        ]
        first = await api.anotify_user("42", "e", exclude_client=author.info.client_id)
        assert first.offset == 1 and first.epoch is not None
        position = Position(first.epoch, 1)
        reader.info = replace(reader.info, acked=position, acked_at=7.0)
        late = await opened(node, local_session("42"))
        found = {one.session: one for one in await api.adelivery_of("42", 1)}
        assert [found[one.info.id].outcome for one in (author, slow, reader, late)] == [
            *(Outcome.EXCLUDED, Outcome.PENDING, Outcome.SENT, Outcome.UNKNOWN)
        ]
        assert found[reader.info.id].acknowledged and found[reader.info.id].acked_at == 7.0
        assert found[reader.info.id].sent_at is not None
        assert not found[author.info.id].acknowledged
        assert {one.node for one in found.values()} == {node.name}
        other = await api.adelivery_of("42", 1, epoch="another")
        assert {one.outcome for one in other} == {Outcome.UNKNOWN}
        assert await api.adelivery_of("nobody", 1) == []
        for session in (author, slow, reader, late):
            await node.sessions.close(session, 1000, "")
