"""Publishes as a Django project does, a publication for each line of JSON on the standard input.

`publish.py notify`: with the gateway's Python API, in the checkout that is the working folder.
`publish.py group_send`: with the layer that the environment chooses for `bench/stock.py`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Publish = Callable[[str, str, dict[str, Any]], object]


def with_notify() -> Publish:
    """Return what publishes with `notify_user` and `broadcast`."""
    sys.path.insert(0, os.getcwd())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    import django

    django.setup()
    from sockets.api import broadcast, notify_user

    def publish(kind: str, user: str, data: dict[str, Any]) -> object:
        if kind == "broadcast":
            return broadcast("job.progress", data)
        return notify_user(user, "job.progress", data, durable=kind == "durable")

    return publish


def with_group_send() -> Publish:
    """Return what publishes with `group_send` to the groups of `bench/peers/tutorial.py`."""
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    from bench.peers.tutorial import EVERYBODY

    layer = get_channel_layer()
    assert layer is not None
    send = async_to_sync(layer.group_send)

    def publish(kind: str, user: str, data: dict[str, Any]) -> object:
        group = EVERYBODY if kind == "broadcast" else f"user_{user}"
        return send(group, {"type": "chat.message", "data": data})

    return publish


def main() -> None:
    """Publish what each line says, and say so."""
    publish = {"notify": with_notify, "group_send": with_group_send}[sys.argv[1]]()
    for line in sys.stdin:
        said = json.loads(line)
        publish(said["kind"], said["user"], said["data"])
        print("done", flush=True)


if __name__ == "__main__":
    main()
