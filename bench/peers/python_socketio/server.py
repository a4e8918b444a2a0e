"""python-socketio on its Redis manager, as its documentation sets it up: each user is a room.

Run by uvicorn in a virtual environment of its own, which its requirements.txt makes.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qs

import redis.asyncio
import socketio

URL = os.environ["REDIS_URL"]

publisher = redis.asyncio.Redis.from_url(URL)
server = socketio.AsyncServer(
    async_mode="asgi", transports=["websocket"], client_manager=socketio.AsyncRedisManager(URL)
)


@server.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    user = parse_qs(environ["QUERY_STRING"])["user_id"][0]
    await server.save_session(sid, {"user": user})
    await server.enter_room(sid, user)


@server.event
async def send(sid: str, message: dict[str, Any]) -> dict[str, Any]:
    user = (await server.get_session(sid))["user"]
    inbound = {"user": user, "event": message["event"], "data": message["data"]}
    await publisher.publish("inbound", json.dumps(inbound))
    return {"ok": True, "ref": message["ref"]}


application = socketio.ASGIApp(server)
