"""The gateway with a Django project's own code in the same process: `POST /call/<name>`.

The body is JSON, the arguments; the answer is JSON. Each call is made from a synchronous view, so
from a thread, as most Django code would make it. Served by uvicorn in tests/acceptance.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from gateway.asgi import application as gateway_application

from channels.layers import get_channel_layer  # isort: skip
from sockets import api  # isort: skip
from sockets.signals import client_message  # isort: skip

heard: list[dict[str, Any]] = []


def on_client_message(**told: Any) -> None:
    if told["event"] == "fail":
        raise RuntimeError("a receiver failed")
    names = ("user", "client", "event", "data")
    heard.append({name: told[name] for name in names} | {"thread": threading.current_thread().name})


client_message.connect(on_client_message)


def call(name: str, arguments: dict[str, Any]) -> Any:
    if name == "group_send":
        group = api.user_group(arguments["user"])
        layer = get_channel_layer()
        assert layer is not None
        async_to_sync(layer.group_send)(group, arguments["message"])
        return None
    if name == "heard":
        return heard
    try:
        return getattr(api, name)(**arguments)
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http" or not scope["path"].startswith("/call/"):
        await gateway_application(scope, receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    name = scope["path"].removeprefix("/call/")
    # thread_sensitive=False: a thread of its own, as a WSGI worker's or a task's would be.
    result = await sync_to_async(call, thread_sensitive=False)(name, json.loads(body))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(result, default=plain).encode()})


def plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else str(value)  # type: ignore[arg-type]
