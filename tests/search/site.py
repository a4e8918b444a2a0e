"""The gateway with receivers that write down every end of a task, in a file that is always open.

A receiver that fails is a project's own fault; these need neither a new file nor the node's disk.
"""

from __future__ import annotations

import json
import os
from typing import Any

from gateway.asgi import application as gateway_application

from sockets import signals  # isort: skip
from sockets.types import Task  # isort: skip

_ended = os.open(os.environ["SEARCH_ENDED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def on_end(sender: object, task: Task, **_: Any) -> None:
    line = json.dumps({"id": task.id, "state": task.state, "ended": task.ended})
    os.write(_ended, line.encode() + b"\n")


for _signal in (
    signals.task_done,
    signals.task_failed,
    signals.task_released,
    signals.task_lost,
    signals.task_cancelled,
):
    _signal.connect(on_end)

application = gateway_application
