"""The stack that the Channels tutorial teaches, as a yardstick: `daphne bench.stock:application`.

`/?user_id=…` is the tutorial's consumer: it joins a group and sends on what the group brings.
`/publish` takes frames `{"user": …, "data": …}` and does `group_send`: what a worker's `notify` is.
LAYER=channels: its in-memory layer. LAYER=gateway: ours, so that only the consumer differs.
LAYER=pubsub: channels-redis' pub/sub layer, on the server that REDIS_URL names.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings

BACKENDS = {
    "channels": "channels.layers.InMemoryChannelLayer",
    "gateway": "sockets.layers.memory.MemoryChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
LAYER: dict[str, Any] = {"BACKEND": BACKENDS[os.environ.get("LAYER", "channels")]}
if url := os.environ.get("REDIS_URL"):
    LAYER["CONFIG"] = {"hosts": [url]}
settings.configure(
    SECRET_KEY="bench",
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": LAYER},
)

import django  # noqa: E402

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class Chat(AsyncWebsocketConsumer):
    """The tutorial's consumer, part 3, with the user's group for a room."""

    async def connect(self) -> None:
        user = parse_qs(self.scope["query_string"].decode())["user_id"][0]
        self.group = f"user_{user}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send(text_data=json.dumps({"type": "welcome"}))

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps({"type": "message", "data": event["data"]}))


class Publish(AsyncWebsocketConsumer):
    """Where the load comes in."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(text_data=json.dumps({"type": "welcome"}))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        frame = json.loads(text_data or "")
        await self.channel_layer.group_send(
            f"user_{frame['user']}", {"type": "chat.message", "data": frame["data"]}
        )


# Django's own types know of no path to an ASGI application, as Channels' routing has it.
routes: list[Any] = [
    path("publish", Publish.as_asgi()),  # type: ignore[arg-type]
    path("", Chat.as_asgi()),  # type: ignore[arg-type]
]

application = ProtocolTypeRouter({"websocket": URLRouter(routes)})
