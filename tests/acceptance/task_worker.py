"""A worker process for fault tests: `python -m tests.acceptance.task_worker URL KEY JOURNAL SEED`.

It accepts, rejects, works, reports and ends tasks at random, and writes what it did to the journal,
a line each, before it goes on. It keeps nothing: started again with the same id after a kill -9, it
finds what it still holds in its welcome, and releases or finishes that. SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.support.patience import PATIENCE


class Worker:
    def __init__(self, url: str, key: str, journal: str, seed: int) -> None:
        self._url = url
        self._key = key
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._random = random.Random(seed)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._connection: ClientConnection

    def note(self, what: str, task: str = "", **more: object) -> None:
        line = json.dumps({"pid": os.getpid(), "what": what, "task": task, **more})
        os.write(self._journal, line.encode() + b"\n")

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        while True:
            try:
                async with connect(
                    self._url, additional_headers=headers, ping_interval=None, proxy=None
                ) as self._connection:
                    async for text in self._connection:
                        await self._on(json.loads(text))
            except (OSError, WebSocketException):
                pass
            await asyncio.sleep(0.05)

    async def _on(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self.note("welcome", held=frame["tasks"])
                for task in frame["tasks"]:
                    if task not in self._jobs:
                        self._start(task, self._finish(task, "returned"))
            case "ping":
                await self._connection.send('{"type":"pong"}')
            case "reply":
                if (ref := frame.get("ref")) in self._replies:
                    self._replies.pop(ref).set_result(frame)
            case "task":
                self._start(frame["task"], self._offered(frame))
            case "task.cancel":
                self.note("cancelled", frame["task"])
                if job := self._jobs.pop(frame["task"], None):
                    job.cancel()

    def _start(self, task: str, work: Coroutine[Any, Any, None]) -> None:
        async def until_the_socket_ends() -> None:
            with suppress(WebSocketException, TimeoutError):
                await work

        job = asyncio.create_task(until_the_socket_ends())
        self._jobs[task] = job
        job.add_done_callback(lambda _: self._jobs.pop(task, None))

    async def _ask(self, **frame: Any) -> dict[str, Any]:
        ref = self._random.getrandbits(48)
        self._replies[ref] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps({**frame, "ref": ref}))
        return await asyncio.wait_for(self._replies[ref], PATIENCE)

    async def _offered(self, offered: dict[str, Any]) -> None:
        task, dice = offered["task"], self._random.random()
        if dice < 0.03:
            return  # silent: the next one will be asked
        kind = "reject" if dice < 0.08 else "accept"
        if 0.08 < dice < 0.11:
            await asyncio.sleep(self._random.uniform(0.2, 0.6))  # perhaps too late
        reply = await self._ask(type=kind, task=task, offer=offered["offer"])
        if kind == "accept" and reply["ok"]:
            self.note("begin", task)
            await self._finish(task, "finished")

    async def _finish(self, task: str, how: str) -> None:
        for _ in range(self._random.randrange(1, 4)):
            await asyncio.sleep(self._random.uniform(0.08, 0.2))
            await self._connection.send(json.dumps({"type": "progress", "task": task}))
        dice = self._random.random()
        kind = "done" if dice < 0.75 else "failed" if dice < 0.88 else "release"
        for _ in range(1 + (self._random.random() < 0.2)):  # some say it again
            reply = await self._ask(type=kind, task=task)
            self.note("ended" if reply["ok"] else "lost", task, kind=kind, how=how)


async def main() -> None:
    url, key, journal, seed = sys.argv[1:]
    work = asyncio.ensure_future(Worker(url, key, journal, int(seed)).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    await asyncio.wait({work})


if __name__ == "__main__":
    asyncio.run(main())
