"""Bodies of the HTTP API that no program can read: 400 or 422, never 500; and what is stored."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sockets.http.routes import messages
from sockets.node.node import Node
from sockets.streams.base import NewEntry
from tests.support.asgi_client import GatewayClient
from tests.support.doubles import running_node

KEY = "the backend's own key"

BROKEN = {
    "half an emoji": '"party \\ud83c"',
    "the other half": '"\\udf89"',
    "half an emoji as a name": '{"\\ud83c": 1}',
    "infinite": "1e999",
    "infinite, deep within": '[{"a": [-1e400]}]',
    "infinite digits": "9" * 400,
    "thousands of digits": "9" * 5_000,
    "NaN": "NaN",
    "Infinity": "[-Infinity]",
    "deep": "[" * 20_000 + "]" * 20_000,
    "deep objects": '{"a":' * 9_000 + "1" + "}" * 9_000,
    "no JSON": "[1,]",
}
broken = pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    keys = {"backend": sha256(KEY.encode()).hexdigest()}
    async with running_node(monkeypatch, tmp_path, api_keys=keys) as made:
        yield made


async def call(method: str, path: str, body: str = "") -> tuple[int, Any]:
    response = await GatewayClient().generic(
        method,
        f"/api/v1{path}",
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return response.status_code, json.loads(response.content)


@broken
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/42/messages", '{"event": "e", "data": %s}'),
        ("/messages/batch", '{"messages": [{"user": "42", "event": "e", "data": %s}]}'),
        ("/broadcast", '{"event": "e", "data": %s}'),
        ("/tasks", '{"pool": "p", "event": "e", "data": %s}'),
        ("/presence", '{"users": [%s]}'),
        ("/users/42/messages", '{"event": "e", "ttl": %s}'),
        ("/users/42/revocations", '{"sid": %s}'),
        ("/users/42/messages", "%s"),
    ],
)
async def test_a_body_that_no_program_reads_is_refused(
    node: Node, caplog: pytest.LogCaptureFixture, path: str, body: str, data: str
) -> None:
    with caplog.at_level(logging.ERROR):
        status, answer = await call("POST", path, body % data)
    assert status in (400, 422), answer
    assert answer["detail"] and "Traceback" not in caplog.text
    assert (await node.streams.head("42")).offset == 0, "and nothing is kept"


async def test_the_answer_says_what_is_wrong(node: Node) -> None:
    for data, why in (
        ('"\\ud83c"', "surrogate pair"),
        ("1e999", "infinite"),
        ("[" * 20_000 + "]" * 20_000, "nested too deeply"),
    ):
        status, answer = await call("POST", "/broadcast", f'{{"event": "e", "data": {data}}}')
        assert status == 400 and why in answer["detail"]


async def test_a_whole_emoji_arrives(node: Node) -> None:
    status, _ = await call("POST", "/users/42/messages", '{"event":"e","data":"\\ud83c\\udf89"}')
    assert status == 200
    status, answer = await call("GET", "/users/42/messages")
    assert (status, answer["messages"][0]["data"]) == (200, "🎉")
    assert {*answer["messages"][0]} == {"offset", "size", "id", "event", "data", "time"}


@pytest.mark.parametrize("data", ["1e999", '"\\ud83c"', "[" * 900 + "]" * 900, "9" * 5_000])
async def test_what_an_older_version_has_stored_can_be_read(
    node: Node, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"id":"i","event":"e","data":%s,"time":1.5}' % data.encode()
    await node.streams.append("42", NewEntry("i", body, None, None, None, None, "e", None))
    response = await GatewayClient().get(
        "/api/v1/users/42/messages", headers={"Authorization": f"Bearer {KEY}"}
    )
    assert response.status_code == 200
    size = len(body)
    assert b'"messages":[{"offset":1,"size":%d,%s]' % (size, body[1:]) in response.content
    monkeypatch.setattr(messages, "holds", lambda request, scope: scope != "messages")
    response = await GatewayClient().get(
        "/api/v1/users/42/messages", headers={"Authorization": f"Bearer {KEY}"}
    )
    header = b'{"offset":1,"size":%d,"id":"i","event":"e","time":1.5}' % size
    assert b'"messages":[%s]' % header in response.content
