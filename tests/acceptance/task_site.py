"""The gateway with a project's own code for tasks in its process: `POST /task/<function>`.

The body is JSON, the arguments of `sockets.api.a<function>`; the answer is JSON. Every end of a
task that Django code hears of becomes a line of `ended.jsonl` in DATA_DIR: a file outlives the
process. With `?sync` the function's sync form is called, from a thread.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async

from gateway.asgi import application as gateway_application

from sockets import api, signals  # isort: skip
from sockets.exceptions import GatewayError  # isort: skip
from sockets.types import Task  # isort: skip

ENDED = Path(os.environ["DATA_DIR"]) / "ended.jsonl"
_lock = threading.Lock()


def on_end(sender: object, task: Task, **_: Any) -> None:
    line = json.dumps(dataclasses.asdict(task))
    with _lock, ENDED.open("a") as file:
        file.write(line + "\n")


for _signal in (
    signals.task_done,
    signals.task_failed,
    signals.task_released,
    signals.task_lost,
    signals.task_cancelled,
):
    _signal.connect(on_end)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http" or not scope["path"].startswith("/task/"):
        await gateway_application(scope, receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    name, arguments = scope["path"].removeprefix("/task/"), json.loads(body)
    try:
        if scope["query_string"] == b"sync":
            call = sync_to_async(getattr(api, name), thread_sensitive=False)
            result = await call(**arguments)
        else:
            result = await getattr(api, f"a{name}")(**arguments)
    except GatewayError as error:
        result = {"error": type(error).__name__, "text": str(error)}
    if dataclasses.is_dataclass(result):
        result = dataclasses.asdict(result)  # type: ignore[arg-type]
    elif isinstance(result, list):
        result = [dataclasses.asdict(one) for one in result]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(result).encode()})
