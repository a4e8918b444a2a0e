"""All that is kept of a user goes, sessions first; whoever comes again begins afresh."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockets.codes import CloseCode
from sockets.deliveries import Forgotten
from sockets.delivery.hub import LocalSession
from sockets.exceptions import GatewayUnavailable
from sockets.presence.revocation import USER
from sockets.sessions import control
from sockets.types import Notification
from tests.support.doubles import NOON, WELCOME, StillNode, local_session, outbox_of, still_node


class Rows:
    """Stands for the database."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.fail = False

    def __call__(self, user: str, before: float) -> int:
        if self.fail:
            raise GatewayUnavailable("the database did not take it", outcome="unknown")
        self.asked.append((user, before))
        return 5


@pytest.fixture
async def node() -> StillNode:
    return await still_node()


@pytest.fixture
def rows(node: StillNode) -> Rows:
    made = Rows()
    node.requests._remove_rows = made
    node.forgetting._settling = 0
    return made


async def arrived(node: StillNode, user: str = "42", **given: Any) -> LocalSession:
    """A session whose socket ends when it is closed."""
    session = local_session(user, **given)
    opened = await node.sessions.open_client(session, None)
    await node.sessions.welcome(session, opened, WELCOME)

    def end(code: int, reason: str) -> None:
        node.spawn(node.sessions.close(session, code, reason))

    outbox_of(session).on_close = end
    return session


async def test_everything_goes_and_others_stay(node: StillNode, rows: Rows) -> None:
    one, other = await arrived(node), await arrived(node, "43")
    for user in ("42", "43"):
        await node.notifier.send(Notification(user, "e"))
    await node.sessions.renew()
    before = await node.streams.head("42")
    done = await node.forgetting.forget("42")
    assert done == Forgotten(1, 0, 1, 1, state=True, rows=5, blocked=False, revoked=False)
    assert one.close_code == CloseCode.DISCONNECTED and other.close_code is None
    assert (await node.streams.read("42", before, 9)).epoch == ""
    await asyncio.sleep(0)
    assert await node.ledger.read("42") == [], "its end was on its way"
    assert [user for user, _ in rows.asked] == ["42"]
    assert len(await node.ledger.read("43")) == 1
    assert (await node.streams.read("43", None, 0)).head == 1


async def test_it_may_be_repeated(node: StillNode, rows: Rows) -> None:
    await arrived(node)
    await node.forgetting.forget("42")
    rows.fail = True
    with pytest.raises(GatewayUnavailable, match="the database did not take it"):
        await node.forgetting.forget("42")
    rows.fail = False
    done = await node.forgetting.forget("42")
    assert (done.closed, done.messages, done.clients, done.rows) == (0, 0, 0, 5)
    nobody = await node.forgetting.forget("nobody")
    assert not nobody.state


async def test_whoever_comes_back_at_once_begins_afresh(node: StillNode, rows: Rows) -> None:
    one = await arrived(node)
    await node.notifier.send(Notification("42", "e"))
    erase, back = node.streams.erase, list[LocalSession]()

    async def erase_late(user: str) -> int:
        back.append(await arrived(node, client_id=one.info.client_id, connected_at=NOON + 1))
        return await erase(user)

    node.streams.erase = erase_late  # type: ignore[method-assign]
    await node.forgetting.forget("42")
    (again,) = back
    assert outbox_of(again).closed is None and await node.presence.is_online("42")
    await node.sessions.renew()
    await asyncio.sleep(0.01)
    assert [frame["type"] for frame in outbox_of(again).frames] == ["reset"]
    await node.sessions.renew()
    (entry,) = await node.ledger.read("42")
    assert (entry.session, entry.sent) == (again.info.id, 0)


async def test_where_no_node_removes_rows_that_is_said(
    node: StillNode, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ROWS_TIMEOUT", 0.01)
    monkeypatch.setattr(node.requests, "_erase_rows", silent)
    with pytest.raises(GatewayUnavailable, match="no node has removed the rows") as told:
        await node.forgetting.forget("42")
    assert told.value.outcome == "unknown"


async def silent(message: Any) -> None:
    """As a node of the version before."""


async def test_blocks_and_revocations_stay_and_are_said(node: StillNode, rows: Rows) -> None:
    await node.presence.block("42", None)
    await node.presence.revoke("42", USER, None)
    done = await node.forgetting.forget("42")
    assert done.blocked and done.revoked


async def test_rows_of_who_left_before_are_waited_for(
    node: StillNode, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They left by themselves a moment ago, and a recorder has not written it yet."""
    waits: list[tuple[float, int]] = []

    async def sleep(seconds: float) -> None:
        waits.append((seconds, len(rows.asked)))

    node.forgetting._settling = 7.5
    monkeypatch.setattr("sockets.sessions.forgetting.asyncio.sleep", sleep)
    await node.forgetting.forget("42")
    assert (7.5, 0) in waits


async def test_what_operators_were_shown_goes_too(node: StillNode, rows: Rows) -> None:
    await arrived(node)
    await node.operations.trace("42", seconds=60, bodies=True, by="ann")
    await node.forgetting.forget("42")
    assert await node.operations.read_trace("42", "", bodies=True) is None


async def test_what_was_done_is_told_where_the_rest_fails(node: StillNode, rows: Rows) -> None:
    await node.notifier.send(Notification("42", "e"))
    rows.fail = True
    progress: dict[str, int] = {}
    with pytest.raises(GatewayUnavailable):
        await node.forgetting.forget("42", progress)
    assert progress == {"closed": 0, "unconfirmed": 0, "messages": 1, "clients": 0}
