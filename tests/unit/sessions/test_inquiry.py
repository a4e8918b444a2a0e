"""What became of a message, asked of stream, ledger, presence and nodes together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockets.base.ids import new_id
from sockets.deliveries import ClientDelivery, Fate, Standing, Why
from sockets.delivery.hub import LocalSession
from sockets.layers.fanout import Message
from sockets.sessions.inquiry import Which
from sockets.types import Notification, Outcome, Position
from tests.contracts.test_ledger import note
from tests.support.doubles import (
    WELCOME,
    StillNode,
    TricklingOutbox,
    local_session,
    still_node,
)

USER = "42"


@pytest.fixture
async def node() -> StillNode:
    return await still_node()


async def arrived(node: StillNode, position: Position | None = None, **given: Any) -> LocalSession:
    session = local_session(USER, **given)
    opened = await node.sessions.open_client(session, position)
    await node.sessions.welcome(session, opened, WELCOME)
    return session


async def standings(node: StillNode, which: Which) -> dict[str, ClientDelivery]:
    found = await node.inquiry.explain(USER, which)
    return {one.client_id: one for one in found.clients}


def client_of(session: LocalSession) -> str:
    return session.info.client_id


async def test_every_client_has_its_answer(node: StillNode) -> None:
    author, slow, reader = [
        await arrived(node, outbox=outbox) for outbox in (None, TricklingOutbox(), None)
    ]
    gone = await arrived(node)
    sent = await node.notifier.send(
        Notification(USER, "e", exclude_client=client_of(author), idempotency_key="k")
    )
    assert sent.epoch is not None and sent.offset == 1
    reader.info = replace(reader.info, acked=Position(sent.epoch, 1), acked_at=7.0)
    await node.sessions.close(gone, 1001, "")
    late = await arrived(node)
    back = await arrived(node, Position(sent.epoch, 1))
    for which in (Which(1), Which(1, sent.epoch), Which(id=sent.id), Which(key="k")):
        found = await standings(node, which)
        assert {client: (one.standing, one.live, one.why) for client, one in found.items()} == {
            client_of(author): (Standing.EXCLUDED, True, ""),
            client_of(slow): (Standing.NOT_ACKNOWLEDGED, True, ""),
            client_of(reader): (Standing.ACKNOWLEDGED, True, ""),
            client_of(gone): (Standing.SENT, False, ""),
            client_of(late): (Standing.UNKNOWN, True, Why.BEFORE),
            client_of(back): (Standing.CLAIMED, True, ""),
        }
    assert found[client_of(reader)].at == 7.0
    rows = await node.inquiry.delivery_of(USER, Which(key="k"))
    assert [(one.session, one.outcome, one.live) for one in rows] == [
        (author.info.id, Outcome.EXCLUDED, True),
        (slow.info.id, Outcome.PENDING, True),
        (reader.info.id, Outcome.SENT, True),
        (late.info.id, Outcome.UNKNOWN, True),
        (back.info.id, Outcome.UNKNOWN, True),
        (gone.info.id, Outcome.SENT, False),
    ]


async def test_what_an_earlier_session_got_counts_for_the_client(node: StillNode) -> None:
    first = await arrived(node)
    sent = await node.notifier.send(Notification(USER, "e"))
    first.info = replace(first.info, acked=Position(sent.epoch or "", 1), acked_at=7.0)
    await node.sessions.close(first, 1001, "")
    again = await arrived(node, client_id=client_of(first))
    found = (await standings(node, Which(1)))[client_of(first)]
    assert (found.standing, found.at, found.live) == (Standing.ACKNOWLEDGED, 7.0, True)
    assert found.session == again.info.id


async def test_who_came_back_was_sent_it_then(node: StillNode) -> None:
    first = await arrived(node)
    position = await node.streams.head(USER)
    await node.sessions.close(first, 1001, "")
    await node.notifier.send(Notification(USER, "e"))
    away = (await standings(node, Which(1)))[client_of(first)]
    assert (away.standing, away.live) == (Standing.NOT_ACKNOWLEDGED, False)
    again = await arrived(node, position, client_id=client_of(first))
    back = (await standings(node, Which(1)))[client_of(first)]
    assert (back.standing, back.at) == (Standing.RECOVERED, again.info.connected_at)


async def test_a_node_that_is_silent_is_named_and_not_guessed(
    node: StillNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = await arrived(node), await arrived(node)
    await node.notifier.send(Notification(USER, "e"))
    await node.ledger.write([(USER, note(client_of(session), session=session.info.id))])

    async def nobody(*_: Any, **__: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(node.bus, "ask", nobody)
    found = await node.inquiry.explain(USER, Which(1))
    assert found.silent == [node.name]
    assert [(one.client_id, one.standing, one.why) for one in found.clients] == [
        (client_of(session), Standing.UNKNOWN, Why.EPOCH),
        (client_of(other), Standing.UNKNOWN, Why.SILENT),
    ]


async def test_a_node_of_the_version_before_tells_what_it_knows(
    node: StillNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers with outcomes, and not with how its sessions stand."""
    reader, sent, author = [await arrived(node) for _ in range(3)]
    receipt = await node.notifier.send(Notification(USER, "e", exclude_client=client_of(author)))
    epoch = receipt.epoch or ""
    reader.info = replace(reader.info, acked=Position(epoch, 1), acked_at=7.0)
    await node.sessions.renew_now(reader)
    ask = node.bus.ask

    async def without_entries(*given: Any, **more: Any) -> dict[str, Any]:
        answers = await ask(*given, **more)
        return {node: {**one, "entries": []} for node, one in answers.items()}

    monkeypatch.setattr(node.bus, "ask", without_entries)
    found = await standings(node, Which(1))
    assert {client: one.standing for client, one in found.items()} == {
        client_of(reader): Standing.ACKNOWLEDGED,
        client_of(sent): Standing.SENT,
        client_of(author): Standing.EXCLUDED,
    }


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"sessions": None},
        {"sessions": [["id"]]},
        {"sessions": [["id", "client", "newer", None, None]]},
        {"sessions": [], "entries": [{"client_id": 7}]},
    ],
)
async def test_a_node_whose_answer_cannot_be_read_counts_as_silent(
    node: StillNode, answer: dict[str, Any]
) -> None:
    """It is of another version, say."""
    session = await arrived(node)
    await node.notifier.send(Notification(USER, "e"))

    def other(asked: Message) -> None:
        node.spawn(node.bus.answer(asked, **answer))

    node.bus.handlers["delivery"] = other
    assert (await node.inquiry.explain(USER, Which(1))).silent == [node.name]
    (one,) = await node.inquiry.delivery_of(USER, Which(1))
    assert (one.session, one.outcome) == (session.info.id, Outcome.UNKNOWN)


async def test_what_is_not_there_has_no_answers(node: StillNode) -> None:
    await arrived(node)
    for which in (Which(id=new_id()), Which(key="k")):
        assert await node.inquiry.delivery_of(USER, which) == []
        found = await node.inquiry.explain(USER, which)
        assert found.message.fate is Fate.NOT_THERE
        assert [one.why for one in found.clients] == [Why.NOT_THERE]
    nobody = await node.inquiry.explain("nobody", Which(1))
    assert (nobody.clients, nobody.message.fate) == ([], Fate.NOT_THERE)


async def test_the_ledger_says_who_is_live(node: StillNode) -> None:
    here, gone = await arrived(node), await arrived(node)
    await node.sessions.close(gone, 1001, "bye")
    await node.sessions.renew()
    found = {one.client_id: one for one in await node.inquiry.ledger_of(USER)}
    assert {client: one.live for client, one in found.items()} == {
        client_of(here): True,
        client_of(gone): False,
    }
    assert found[client_of(gone)].reason == "bye"


async def test_a_node_that_answers_without_an_account_is_not_silent(
    node: StillNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is still opening, or the node is of the version before."""
    session = await arrived(node)
    position = await node.streams.head(USER)
    await node.sessions.close(session, 1001, "")
    again = await arrived(node, position, client_id=client_of(session))
    await node.notifier.send(Notification(USER, "e"))
    await node.ledger.write(
        [(USER, note(client_of(again), epoch=position.epoch, session=again.info.id))]
    )

    async def without(*_: Any, **__: Any) -> dict[str, Any]:
        return {node.name: {"sessions": []}}

    monkeypatch.setattr(node.bus, "ask", without)
    found = await node.inquiry.explain(USER, Which(1))
    assert found.silent == []
    assert [one.why for one in found.clients] == [""]
