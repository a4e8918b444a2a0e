"""The backend client of the Python package against a real gateway, with both faces."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway_client import AsyncClient, Client, EndedTrace, Notification, Position, errors
from sockets.base.ids import new_id
from tests.support.gateway import API_KEY, SHORT, Gateway, running
from tests.support.patience import PATIENCE
from tests.support.peers import client, worker
from tests.support.scale import scaled

Do = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
async def do(request: pytest.FixtureRequest, shared_gateway: Gateway) -> AsyncIterator[Do]:
    """Do a call by its name, with one of the faces."""
    url = f"http://127.0.0.1:{shared_gateway.worker_port}"
    with Client(url, API_KEY) as plain:
        async with AsyncClient(url, API_KEY) as on_loop:

            async def call(name: str, *args: Any, **kwargs: Any) -> Any:
                if request.param == "sync":
                    return await asyncio.to_thread(_blocking, plain, name, args, kwargs)
                answer = getattr(on_loop, name)(*args, **kwargs)
                if inspect.isasyncgen(answer):
                    return [item async for item in answer]
                return await answer

            yield call


def _blocking(plain: Client, name: str, args: Any, kwargs: Any) -> Any:
    answer = getattr(plain, name)(*args, **kwargs)
    return list(answer) if inspect.isgenerator(answer) else answer


async def test_a_notification_its_stream_and_its_delivery(shared_gateway: Gateway, do: Do) -> None:
    user = f"한/{new_id()}"
    tab = await client(shared_gateway, user)
    before = await do("stream_position", user)
    receipt = await do("notify_user", user, "order.paid", {"order": 7}, collapse_key="k")
    frame = await tab.receive()
    assert (frame["id"], frame["data"]) == (receipt.id, {"order": 7})
    assert (receipt.reach, receipt.duplicate) == (1, False)
    assert await do("stream_position", user) == Position(receipt.epoch, receipt.offset)
    await tab.send(type="ack", epoch=receipt.epoch, offset=receipt.offset)
    while True:
        (one,) = await do("delivery_of", user, receipt.offset, epoch=receipt.epoch)
        assert (one.session, one.outcome) == (tab.welcome["session"], "sent")
        if one.acked_at:
            break
    page = await do("read_stream", user, epoch=receipt.epoch)
    assert page.complete and [m.id for m in page.messages] == [receipt.id]
    (message,) = await do("messages", user, after=Position(receipt.epoch, 0), page=1)
    assert message.data == {"order": 7} and before.offset == 0
    with pytest.raises(errors.PositionGone):
        await do("messages", user, after=Position("another", 3))


async def test_a_key_of_ones_own_makes_a_repetition_safe(do: Do) -> None:
    user = new_id()
    first = await do("notify_user", user, "e", idempotency_key="invoice-7")
    again = await do("notify_user", user, "e", idempotency_key="invoice-7")
    assert (again.id, again.duplicate, first.duplicate) == (first.id, True, False)


async def test_a_batch_of_several_requests(do: Do) -> None:
    users = [new_id() for _ in range(1_500)]
    many = [Notification(user=user, event="e", data=n) for n, user in enumerate(users)]
    receipts = await do("notify_batch", many, idempotency_key=users[0])
    again = await do("notify_batch", many, idempotency_key=users[0])
    assert [one.id for one in again] == [one.id for one in receipts]
    assert all(one.duplicate and one.offset == 1 for one in again)
    same = await do("notify_users", [users[0], "x", 7], "e", {"a": 1}, ttl=60)
    assert len({one.id for one in same}) == 3
    kept = await do("messages", users[0], page=1)
    assert [one.data for one in kept] == [0, {"a": 1}]


async def test_a_broadcast(shared_gateway: Gateway, do: Do) -> None:
    tab = await client(shared_gateway, new_id())
    receipt = await do("broadcast", "maintenance", {"in": 5})
    while (frame := await tab.receive())["event"] != "maintenance":
        pass
    assert frame["id"] == receipt.id and receipt.epoch is None


async def test_presence_of_one_and_of_very_many(shared_gateway: Gateway, do: Do) -> None:
    user = new_id()
    tab = await client(shared_gateway, user)
    one = await do("presence_of", user)
    assert one.state == "connected" and one.sessions[0].id == tab.welcome["session"]
    assert await do("is_online", user) is True and await do("is_online", "nobody") is False
    many = await do("presence_of_users", [user, *range(12_000)])
    assert len(many) == 12_001 and many[user].online and many["7"].state == "offline"


async def test_sessions_page_by_page_and_their_ends(shared_gateway: Gateway, do: Do) -> None:
    users = [f"{new_id()}" for _ in range(5)]
    tabs = [await client(shared_gateway, user) for user in users]
    found = {one.user: one for one in await do("sessions", page=2)}
    assert set(users) <= found.keys()
    assert (await do("disconnect_session", found[users[0]].id)).closed == 1
    assert (await tabs[0].closed())[0] == 4504
    with pytest.raises(errors.NotFound):
        await do("disconnect_session", new_id())
    assert (await do("disconnect_user", users[1], keep=[new_id()], reason="bye")).closed == 1
    assert await tabs[1].closed() == (4504, "bye")
    assert (await do("block_user", users[2], until=time.time() + 60)).closed == 1
    assert (await tabs[2].closed())[0] == 4507
    assert await do("unblock_user", users[2]) is True
    assert (await do("revoke", users[3])).closed == 1
    assert (await tabs[3].closed())[0] == 4508
    (node,) = await do("nodes")
    assert node.name == "test-node"


async def test_a_task(shared_gateway: Gateway, do: Do) -> None:
    pool = f"p{new_id()}"
    with pytest.raises(errors.NoWorkerAvailable, match=pool):
        await do("assign_task", pool, "e")
    peer = await worker(shared_gateway, pools=pool)
    asking = asyncio.ensure_future(do("assign_task", pool, "e", {"n": 1}, user="u"))
    offer = await peer.receive()
    assert offer["data"] == {"n": 1} and offer["user"] == "u"
    await peer.ask(type="accept", task=offer["task"], offer=offer["offer"])
    task = await asking
    assert task.state == "running" and (await do("task", task.id)).id == task.id
    assert await do("cancel_task", task.id) is True
    with pytest.raises(errors.NotFound):
        await do("task", new_id())
    with pytest.raises(errors.TaskIdTaken):
        await do("assign_task", pool, "another", task_id=task.id)


async def test_what_operators_see_and_do(shared_gateway: Gateway, do: Do) -> None:
    user, pool = new_id(), f"p{new_id()}"
    tab = await client(shared_gateway, user, client_id=new_id())
    session = tab.welcome["session"]
    assert (await do("trace_user", user, minutes=1, bodies=True)).frames == ()
    receipt = await do("notify_user", user, "order.paid", idempotency_key="paid")
    await tab.receive()
    found = await do("find_live_sessions", q=user)
    assert [one.id for one in found.sessions] == [session] and found.matching == 1
    assert (await do("session_report", session, frames=True)).sent.offset == receipt.offset
    assert (await do("user_report", user)).stream[0].id == receipt.id
    for asked in ({"offset": receipt.offset}, {"message": receipt.id}, {"message": "paid"}):
        told = await do("explain_delivery", user, **asked)
        assert (told.message.fate, told.clients[0].standing) == ("kept", "sent")
    seen = await do("overview")
    assert [node.info.name for node in seen.nodes] == ["test-node"] and seen.sessions
    assert (await do("refusals", user=user)).refusals == ()

    trace = await do("read_trace", user)
    assert "order.paid" in [frame.header.event for frame in trace.frames]
    assert (await do("read_trace", user, after=trace.next)).frames == ()
    assert (await do("end_trace", user)) == EndedTrace(ended=True)
    with pytest.raises(errors.NotFound):
        await do("read_trace", user)

    peer = await worker(shared_gateway, pools=pool)
    asking = asyncio.ensure_future(do("assign_task", pool, "e", user=user))
    offer = await peer.receive()
    await peer.ask(type="accept", task=offer["task"], offer=offer["offer"])
    task = await asking
    held = [one for one in (await do("workers")).workers if pool in one.pools]
    assert [one.id for one in held[0].tasks] == [task.id]
    assert (await do("release_task", task.id)).state == "released"
    with pytest.raises(errors.TaskNotRunning):
        await do("release_task", task.id)

    await tab.close()
    async with asyncio.timeout(PATIENCE):  # it is written when the session has ended
        while not (clients := await do("ledger_of", user)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [one.session for one in clients] == [session]
    assert clients[0].start < receipt.offset <= clients[0].sent
    gone = await do("forget_user", user)
    assert (gone.messages, gone.clients, gone.blocked) == (clients[0].sent, 1, False)


async def test_errors_of_a_real_gateway(shared_gateway: Gateway, do: Do) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await do("notify_user", "u", "")
    assert caught.value.errors[0].where == "body.event" and caught.value.outcome == "nothing"
    with pytest.raises(errors.TooLarge, match="MAX_MESSAGE_SIZE"):
        await do("notify_user", "u", "e", "x" * 70_000)
    url = f"http://127.0.0.1:{shared_gateway.worker_port}"
    with Client(url, "wrong") as stranger, pytest.raises(errors.Unauthorized, match="create_key"):
        await asyncio.to_thread(stranger.is_online, "u")
    public = f"http://127.0.0.1:{shared_gateway.client_port}"
    with Client(public, API_KEY) as lost, pytest.raises(errors.NotFound, match="check the URL"):
        await asyncio.to_thread(lost.is_online, "u")


async def test_nothing_is_doubled_or_lost_while_the_gateway_restarts(gateway: Gateway) -> None:
    """Whatever has a receipt is there once; what has none says whether it may be."""
    count, done, unknown = scaled(2_000, 200), list[str](), 0
    url = f"http://127.0.0.1:{gateway.worker_port}"
    tab = await client(gateway, "u")
    async with AsyncClient(url, API_KEY, retries=0, timeout=5) as api:
        for number in range(count):
            if number == count // 2:
                gateway.kill()
            try:
                done.append((await api.notify_user("u", "e", number)).id)
            except errors.Unavailable as error:
                unknown += error.outcome == "unknown"
                assert number >= count // 2
        heard = {(await tab.receive())["id"] for _ in done}
        assert heard == set(done) and len(done) == count // 2
        await asyncio.to_thread(gateway.start)
    async with AsyncClient(url, API_KEY) as api:
        assert await api.is_online("u") is False, "the port is the same, and so is the client"


async def test_a_rate_limit_is_waited_for(tmp_path: Any) -> None:
    with running(tmp_path, **SHORT | {"API_RATE": "10", "API_BURST": "10"}) as gateway:
        url = f"http://127.0.0.1:{gateway.worker_port}"
        async with AsyncClient(url, API_KEY, retries=6) as api:
            asking = [api.is_online(n) for n in range(30)]
            assert await asyncio.gather(*asking) == [False] * 30
        async with AsyncClient(url, API_KEY, retries=0) as api:
            answers = await asyncio.gather(
                *[api.is_online(n) for n in range(90)], return_exceptions=True
            )
            refused = [one for one in answers if isinstance(one, errors.TooManyRequests)]
            assert all(one in refused or one is False for one in answers)
            assert refused and all(one.retry_after and one.retry_after > 0 for one in refused)
