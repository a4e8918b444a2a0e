"""Publishes with python-socketio's own manager, a publication for each line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import socketio


async def main() -> None:
    """Publish what the lines of the standard input say, and say so of each."""
    manager = socketio.AsyncRedisManager(os.environ["REDIS_URL"], write_only=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        said = json.loads(line)
        room = None if said["kind"] == "broadcast" else said["user"]
        await manager.emit("message", said["data"], room=room)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
