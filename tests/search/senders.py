"""Sends counted messages through every door, and keeps what each attempt was answered."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.search.record import Call, Record
from tests.search.stage import Stage
from tests.support.gateway import API_KEY, ROOT, WORKER_KEY

ANSWER = 15.0
"""Seconds that an answer may take; then it is none."""
BACKLOG = 300
"""Calls under way; while there are so many, no new one begins."""

Answer = dict[str, Any]
"""`outcome`, and where it is known `id`, `epoch`, `offset`."""


class Http:
    """`POST /users/{user}/messages`, and batches of one now and then."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._client = httpx.AsyncClient(
            timeout=ANSWER, trust_env=False, headers={"Authorization": f"Bearer {API_KEY}"}
        )

    async def request(self, node: int, method: str, path: str, **body: Any) -> httpx.Response:
        """Raises httpx.HTTPError."""
        url = self._stage.nodes[node].http(f"/api/v1{path}", private=True)
        return await self._client.request(method, url, json=body or None)

    async def send(self, node: int, user: str, number: int, key: str | None) -> Answer:
        batch = number % 5 == 0
        message: dict[str, Any] = {"event": "e", "data": {"n": number}}
        if key:
            message["idempotency_key"] = key
        try:
            if batch:
                message["user"] = user
                found = await self.request(node, "POST", "/messages/batch", messages=[message])
            else:
                found = await self.request(node, "POST", f"/users/{user}/messages", **message)
        except httpx.HTTPError as error:
            return {"outcome": "no answer", "why": type(error).__name__}
        return _of_http(found, batch)

    async def close(self) -> None:
        await self._client.aclose()


def _of_http(found: httpx.Response, batch: bool) -> Answer:
    try:
        told: Answer = found.json()
    except ValueError:
        if found.status_code == 503:  # the server's own word, when it stops
            return {"outcome": "unavailable"}
        return {"outcome": f"HTTP {found.status_code} {found.text[:200]}"}
    if found.status_code in (200, 201, 202):
        return {"outcome": "ok", **(told["receipts"][0] if batch else told)}
    if found.status_code == 503 and "outcome" in told:
        return {"outcome": told["outcome"], "id": told.get("id")}
    if found.status_code == 503:  # not yet, or not any more: the node starts or drains
        return {"outcome": "unavailable"}
    return {"outcome": f"HTTP {found.status_code} {found.text[:200]}"}


class Socket:
    """`notify` by a worker's socket, one for each node."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._open: dict[int, ClientConnection] = {}
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._locks = [asyncio.Lock() for _ in stage.nodes]

    async def send(self, node: int, user: str, number: int, key: str | None) -> Answer:
        ref = f"{node}:{number}:{time.monotonic()}"
        frame = {"type": "notify", "ref": ref, "user": user, "event": "e", "data": {"n": number}}
        if key:
            frame["idempotency_key"] = key
        waiting = self._waiting[ref] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER):
                socket = await self._socket(node)
                await socket.send(json.dumps(frame))
                answer: Answer = await waiting
                return answer
        except (OSError, WebSocketException, TimeoutError, EOFError):
            return {"outcome": "no answer"}
        finally:
            self._waiting.pop(ref, None)

    async def _socket(self, node: int) -> ClientConnection:
        async with self._locks[node]:
            if node not in self._open:
                self._open[node] = socket = await connect(
                    self._stage.nodes[node].worker_url(name="sender"),
                    additional_headers={"Authorization": f"Bearer {WORKER_KEY}"},
                    ping_interval=None,
                    close_timeout=0.5,
                    proxy=None,
                )
                reader = asyncio.create_task(self._read(node, socket))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
            return self._open[node]

    async def _read(self, node: int, socket: ClientConnection) -> None:
        with suppress(WebSocketException):
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                elif frame["type"] == "reply":
                    self._settle(str(frame["ref"]), _of_reply(frame))
        self._open.pop(node, None)
        for ref in list(self._waiting):
            if ref.startswith(f"{node}:"):
                self._settle(ref, {"outcome": "no answer"})

    def _settle(self, ref: str, answer: Answer) -> None:
        if (waiting := self._waiting.get(ref)) and not waiting.done():
            waiting.set_result(answer)

    async def close(self) -> None:
        for socket in list(self._open.values()):
            await socket.close()
        for reader in list(self._readers):
            reader.cancel()


def _of_reply(frame: dict[str, Any]) -> Answer:
    if frame["ok"]:
        return {"outcome": "ok", **frame}
    code = frame["error"]["code"]
    return {"outcome": code if code == "unavailable" else f"error {frame['error']}"}


class Python:
    """`notify_user` in another process. One call at a time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def send(self, node: int, user: str, number: int, key: str | None) -> Answer:
        async with self._lock:
            if self._process is None:
                self._process = await self._start()
            process = self._process
            assert process.stdin is not None and process.stdout is not None
            line = json.dumps({"user": user, "number": number, "key": key})
            process.stdin.write(line.encode() + b"\n")
            try:
                async with asyncio.timeout(ANSWER * 4):
                    told = await process.stdout.readline()
            except TimeoutError:
                await self._end(process)
                return {"outcome": f"a call of the Python API hung for {ANSWER * 4:.0f} s"}
            if not told:
                await self._end(process)
                return {"outcome": "the backend's process ended"}
            answer: Answer = json.loads(told)
            return answer

    async def _start(self) -> asyncio.subprocess.Process:
        with (self._stage.folder / "backend.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.search.backend"),
                cwd=ROOT,
                env=self._stage.backend_environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()
        self._process = None

    async def close(self) -> None:
        if self._process is not None:
            await self._end(self._process)


Door = Http | Socket | Python


class Senders:
    """Draws users and doors; repeats what is not known, under its key or its id."""

    def __init__(self, stage: Stage, record: Record, dice: random.Random) -> None:
        self._stage = stage
        self._record = record
        self._dice = dice
        self.http = Http(stage)
        self._socket = Socket(stage)
        self.python = Python(stage)
        self._calls: set[asyncio.Task[None]] = set()
        self._next = 0

    async def run(self) -> None:
        """For ever, at the setting's rate."""
        setting = self._stage.setting
        while True:
            if len(self._calls) < BACKLOG:
                doors = (self.http, self.http, self._socket, self._socket, self.python)
                door = self._dice.choice(doors)
                if door is not self.python or not self.python._lock.locked():
                    user = f"u{self._dice.randrange(setting.users)}"
                    self._begin(self._one(door, user, keyed=self._dice.random() < 0.5))
            await asyncio.sleep(self._dice.expovariate(setting.rate))

    def _begin(self, call: Any) -> None:
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _new(self, door: object, user: str) -> Call:
        self._next += 1
        name = type(door).__name__.lower()
        call = self._record.calls[self._next] = Call(self._next, user, name, time.time())
        return call

    async def _one(self, door: Door, user: str, *, keyed: bool) -> None:
        """One message. `nothing` is believed: it is not repeated, so it must not turn up."""
        call = self._new(door, user)
        key = f"m{call.number}" if keyed else None
        node = self._dice.randrange(len(self._stage.nodes))
        for _ in range(3):
            answer = await door.send(node, user, call.number, key)
            _note(call, answer)
            key = key or answer.get("id")
            if answer["outcome"] in ("ok", "nothing") or not key or self._dice.random() < 0.3:
                break
            await asyncio.sleep(0.3)
            node = self._dice.randrange(len(self._stage.nodes))
        call.ended = time.time()

    async def marker(self, door: Door, user: str, deadline: float) -> Call | None:
        """One that is repeated until it is taken; None where it never was."""
        call = self._new(door, user)
        node = 0
        while time.time() < deadline:
            node = (node + 1) % len(self._stage.nodes)
            answer = await door.send(node, user, call.number, f"m{call.number}")
            _note(call, answer)
            if call.acked:
                call.ended = time.time()
                return call
            await asyncio.sleep(0.2)
        call.ended = time.time()
        return None

    async def settle(self) -> None:
        """Until no call is under way."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=ANSWER * 4)

    async def close(self) -> None:
        for task in list(self._calls):
            task.cancel()
        await self.http.close()
        await self._socket.close()
        await self.python.close()


def _note(call: Call, answer: Answer) -> None:
    call.outcomes.append((time.time(), answer["outcome"]))
    if answer["outcome"] == "ok":
        call.epoch, call.offset = answer["epoch"] or "", answer["offset"] or 0
