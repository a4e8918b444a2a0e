"""The conformance vectors of the role `python`: of the worker, of the HTTP API, of webhooks.

What the files and their steps mean is in the README.md beside them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from gateway_client import BadWebhook, Client, GatewayError, Rejected, Worker, verify_webhook
from gateway_client.frames import Backoff, may_return

FOLDER = Path(__file__).resolve().parents[2] / "conformance"

assert FOLDER.is_dir(), "the vectors of clients/conformance are what this is held to"

Vector = dict[str, Any]


def vectors() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*.json")):
        whole = json.loads(file.read_text())
        for vector in whole.get("vectors", ()):
            if "python" in vector.get("roles", whole.get("roles", ())):
                yield pytest.param(whole["kind"], vector, id=f"{file.stem}: {vector['name']}")


@pytest.mark.parametrize(("kind", "vector"), [*vectors()])
def test_vector(kind: str, vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    RUNNERS[kind](vector, monkeypatch)


def test_all_kinds_of_our_role_are_run() -> None:
    kinds = {param.values[0] for param in vectors()}
    assert kinds == RUNNERS.keys() and len(list(vectors())) > 70


# --- what is decided without a socket


def close_code(vector: Vector, patch: pytest.MonkeyPatch) -> None:
    assert may_return(vector["code"]) is vector["returns"]


def back_off(vector: Vector, patch: pytest.MonkeyPatch) -> None:
    for chance in (0.0, 1.0):
        patch.setattr(random, "uniform", lambda a, b, chance=chance: a + (b - a) * chance)
        backoff = Backoff()
        pauses = [backoff.pause(0.0) for _ in range(vector["losses"])]
        assert vector["least"] <= pauses[-1] <= vector["most"]


def webhook(vector: Vector, patch: pytest.MonkeyPatch) -> None:
    header, body = vector.get("header", ""), vector["body"]
    if signed := vector.get("signed"):
        text = f"{signed['at']}.{signed.get('body', body)}".encode()
        digest = hmac.new(signed["secret"].encode(), text, hashlib.sha256).hexdigest()
        header = f"t={signed['at']},v1={digest}"
    given: Any = {"GATEWAY-signature": header}, body.encode(), vector["secrets"]
    try:
        verify_webhook(*given, now=vector["now"])
    except (BadWebhook, ValueError):
        assert not vector["valid"]
    else:
        assert vector["valid"]


def http(vector: Vector, patch: pytest.MonkeyPatch) -> None:
    pauses, asked = list[float](), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) > 1:
            return httpx.Response(200, json={"id": "1"})
        if (given := vector["answer"]) is None:
            raise httpx.ReadError("the line broke")
        return httpx.Response(given["status"], headers=given["headers"], json=given["body"])

    patch.setattr("gateway_client.client.time.sleep", pauses.append)
    with Client("http://gateway", "key", transport=httpx.MockTransport(answer)) as client:
        try:
            client.notify_user("42", "e", durable=vector["keyed"])
        except GatewayError as error:
            assert not vector["retried"] and error.outcome == vector["outcome"]
        else:
            assert vector["retried"]
    assert len(asked) == 1 + vector["retried"]
    assert sum(pauses) >= vector.get("wait", 0)


# --- a worker on sockets and a clock that only the vector moves


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time stands still until `advance`."""

    now = 1_000.0

    def time(self) -> float:
        return self.now

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            await self.settle()
            timers: Any = self._scheduled  # type: ignore[attr-defined]
            due = [timer.when() for timer in timers if not timer.cancelled()]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
        self.now = end
        await self.settle()


class Socket:
    """One connection; it opens when it is welcomed."""

    def __init__(self, url: str) -> None:
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.sent: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self._open = asyncio.Event()
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def __aenter__(self) -> Socket:
        await self._open.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def recv(self) -> str:
        text = await self._texts.get()
        if text is None:
            raise ConnectionClosed(None, None)
        return text

    async def __aiter__(self) -> Any:
        while True:
            yield await self.recv()

    async def send(self, text: str) -> None:
        if self.close_code is not None:
            raise ConnectionClosed(None, None)
        self.sent.append(json.loads(text))

    def say(self, text: str) -> None:
        self._open.set()
        self._texts.put_nowait(text)

    def close(self, code: int) -> None:
        self.close_code = code
        self._texts.put_nowait(None)


class Stage(Worker):
    """The worker of a vector, and what its code hears."""

    def __init__(self, options: dict[str, Any]) -> None:
        assert options.keys() <= {"capacity"}, options
        pools = {"image.convert": options.get("capacity", 1)}
        super().__init__("ws://gateway", "key", pools=pools)
        self.heard: list[list[Any]] = []
        self.told: list[dict[str, Any]] = []
        self.results: dict[str, asyncio.Future[Any]] = {}
        self.task("image.convert")(self.convert)

    async def convert(self, task: Any) -> Any:
        self.heard.append(["task.start", {"task": task.id}])
        self.results[task.id] = asyncio.get_running_loop().create_future()
        return await self.results[task.id]

    def lost(self, task: str, reason: str) -> None:
        if task in self.results:
            self.heard.append(["task.stop", {"task": task, "reason": reason}])
        super().lost(task, reason)


WELCOME = {
    "type": "welcome",
    "session": "s1",
    "worker": "w1",
    "pools": ["image.convert"],
    "node": "n1",
    "heartbeat": 25,
    "limits": {"frame": 65536, "message": 65536},
    "tasks": [],
    "quiet": True,
}


def worker(vector: Vector, patch: pytest.MonkeyPatch) -> None:
    sockets: list[Socket] = []

    def connect(url: str, **options: Any) -> Socket:
        assert options["subprotocols"] == ["gateway.v1"]
        sockets.append(Socket(url))
        return sockets[-1]

    patch.setattr("gateway_client.link.connect", connect)
    patch.setattr(random, "uniform", lambda a, b: (a + b) / 2)
    clock = Clock()
    try:
        clock.run_until_complete(play(vector, clock, sockets))
    finally:
        clock.close()


async def play(vector: Vector, clock: Clock, sockets: list[Socket]) -> None:
    stage = Stage(vector.get("options", {}))
    life = asyncio.ensure_future(stage.serve())
    await clock.settle()
    for step in vector["steps"]:
        on = sockets[step["on"] - 1 if "on" in step else -1]
        await do_step(step, on, clock, stage, sockets)
        await clock.settle()
    life.cancel()
    result = await asyncio.gather(life, return_exceptions=True)
    assert isinstance(result[0], asyncio.CancelledError | Rejected)


async def do_step(
    step: dict[str, Any], on: Socket, clock: Clock, stage: Stage, sockets: list[Socket]
) -> None:
    (name,) = step.keys() - {"on", "with"}
    given = step[name]
    match name:
        case "welcome":
            on.say(json.dumps(WELCOME | given))
        case "server":
            on.say(json.dumps(given))
        case "reply":
            ref = next(one["ref"] for one in reversed([*stage.told, *on.sent]) if "ref" in one)
            on.say(json.dumps({"type": "reply", "ref": ref, **given}))
        case "close":
            on.close(given)
        case "advance":
            await clock.advance(given)
        case "call":
            assert given == "done"
            stage.results[step["with"]["task"]].set_result(step["with"]["data"])
        case "sockets":
            assert len(sockets) == given
        case "same_query":
            assert all(on.query[one] == sockets[0].query[one] for one in given)
        case "sent":
            same(given, [stripped(frame) for frame in on.sent])
            stage.told += on.sent
            on.sent.clear()
        case "heard":
            same(given, stage.heard)
            stage.heard.clear()
        case _:
            raise AssertionError(f"step {name!r} is not known")


def stripped(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name != "ref"}


def same(expected: Any, found: Any) -> None:
    """Objects are compared by the members that the vector names."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            same(value, found.get(name))
    elif isinstance(expected, list):
        assert len(expected) == len(found), (expected, found)
        for one, other in zip(expected, found, strict=True):
            same(one, other)
    else:
        assert expected == found, (expected, found)


RUNNERS: dict[str, Callable[[Vector, pytest.MonkeyPatch], None]] = {
    "close_code": close_code,
    "back_off": back_off,
    "webhook": webhook,
    "http": http,
    "worker": worker,
}
