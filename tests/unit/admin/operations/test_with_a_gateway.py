"""The pages over a gateway that runs in this process: nothing stands in for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from sockets.admin.operations import disconnecting
from sockets.testing.fixtures import gateway  # a fixture
from sockets.testing.gateway import RunningGateway
from tests.unit.admin.operations.conftest import ROOT, words

__all__ = ["gateway"]
pytestmark = pytest.mark.django_db(transaction=True)


async def chief() -> AsyncClient:
    client = AsyncClient()
    user = await User.objects.acreate_superuser("chief", "a@b.test", "x")
    await client.aforce_login(user)
    return client


async def said(client: AsyncClient, path: str) -> str:
    answer = await client.get(ROOT + path)
    assert answer.status_code == 200, answer.content.decode()[:2_000]
    text = answer.content.decode()
    assert "gateway-problem" not in text, words(text)[:2_000]
    return words(text.partition('id="gateway-texts"')[0])


async def told(client: AsyncClient, path: str) -> dict[str, Any]:
    answer = await client.get(ROOT + path)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = json.loads(answer.content)["parts"]
    return found


async def test_every_page(gateway: RunningGateway) -> None:
    client, kim = await chief(), await gateway.connect("kim")
    session = kim.welcome["session"]
    text = await said(client, "overview/")
    assert "ready" in text and "Drain…" in text
    assert "kim" in await said(client, "livesession/")
    assert "kim" in await said(client, f"livesession/?q={session}&health=healthy")
    text = await said(client, f"livesession/{session}/change/")
    assert "kim" in text and "No frame since" in text
    await kim.send("hello", {"a": 1})
    frames = (await told(client, f"livesession/{session}/data/"))["frames"]["rows"]
    assert "hello" in {row["cells"][3].get("text") for row in frames}
    await said(client, "worker/")
    await said(client, "refusal/?user=kim")
    assert "connected" in await said(client, "gatewayuser/?user=kim")
    assert "offline" in await said(client, "gatewayuser/?user=nobody")


async def test_a_message_and_its_story(gateway: RunningGateway) -> None:
    client, kim = await chief(), await gateway.connect("kim")
    given = {"asked": "1", "confirmed": "1", "user": "kim", "event": "order.paid",
             "content": '{"order": 7}', "durable": "on", "key": "once"}  # fmt: skip
    for _ in range(2):
        assert (await client.post(f"{ROOT}gatewayuser/notify/", given)).status_code == 302
    message = await kim.message()
    assert (message["event"], message["data"]) == ("order.paid", {"order": 7})
    await kim.nothing()
    await kim.ack()
    text = await said(client, "gatewayuser/why/?user=kim&what=idempotency_key&message=once")
    assert "order.paid" in text and "put into the stream at offset 1" in text
    assert "acknowledged" in text
    assert "order.paid" in await said(client, "gatewayuser/?user=kim")


async def test_a_kick_closes_the_right_socket(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnecting, "wait_until_written", lambda _: None)
    client = await chief()
    kim, lee = await gateway.connect("kim"), await gateway.connect("lee")
    given = {"asked": "1", "session": kim.welcome["session"], "code": 4504, "reason": "bye"}
    asked = asyncio.create_task(client.post(f"{ROOT}livesession/disconnect/", given, follow=True))
    assert await kim.closed() == (4504, "bye")
    text = words((await asked).content.decode())
    assert "1 session was disconnected." in text
    rows = (await told(client, "livesession/data/"))["sessions"]["rows"]
    assert [row["key"] for row in rows] == [lee.welcome["session"]]


async def test_a_trace(gateway: RunningGateway) -> None:
    client, kim = await chief(), await gateway.connect("kim")
    given = {"asked": "1", "user": "kim", "minutes": "5", "bodies": "on"}
    assert (await client.post(f"{ROOT}gatewayuser/begin/", given)).status_code == 302
    await kim.send("hello", {"secret": "of kim"})
    answer = await client.get(f"{ROOT}gatewayuser/trace/data/?user=kim")
    assert b"of kim" in answer.content
    after = json.loads(answer.content)["parts"]["frames"]["next"]
    frames = await told(client, f"gatewayuser/trace/data/?user=kim&after={after}")
    assert frames["frames"]["rows"] == []
    assert (await client.post(f"{ROOT}gatewayuser/end/", given)).status_code == 302
    assert "No trace of this user" in await said(client, "gatewayuser/trace/?user=kim")


async def test_who_is_blocked_is_refused_and_it_is_said_why(gateway: RunningGateway) -> None:
    client, kim = await chief(), await gateway.connect("kim")
    given = {"asked": "1", "user": "kim", "length": "", "reason": "spam"}
    asked = asyncio.create_task(client.post(f"{ROOT}gatewayuser/block/", given))
    assert (await kim.closed())[0] == 4507
    assert (await asked).status_code == 302
    assert "until somebody unblocks them" in await said(client, "gatewayuser/?user=kim")
    with pytest.raises(Exception, match=r"4507|blocked|closed"):
        await gateway.connect("kim")
    assert "blocked" in await said(client, "refusal/?user=kim")
