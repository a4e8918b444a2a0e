"""The consumer that the Channels tutorial teaches, on channels-redis' own pub/sub layer:
`LAYER=pubsub daphne bench.peers.tutorial:application`, with REDIS_URL.

To what `bench/stock.py` has, it adds a group of everybody and the answer to a request.
"""

from __future__ import annotations

import json

from channels.routing import ProtocolTypeRouter

from bench.stock import Chat

EVERYBODY = "everybody"


class Tutorial(Chat):
    """The tutorial's consumer, with everybody in one more group."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(EVERYBODY, self.channel_name)
        await super().connect()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(EVERYBODY, self.channel_name)
        await super().disconnect(code)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        frame = json.loads(text_data or "")
        await self.channel_layer.group_send("inbound", {"type": "user.send", "data": frame["data"]})
        await self.send(text_data=json.dumps({"type": "reply", "ok": True, "ref": frame["ref"]}))


application = ProtocolTypeRouter({"websocket": Tutorial.as_asgi()})
