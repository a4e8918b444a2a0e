"""Whatever frames come: an answer or a close code, no traceback, no session that stays behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import string
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from sockets.base.ids import new_id
from sockets.codes import CloseCode
from tests.support.gateway import SHORT, Gateway, running
from tests.support.patience import PATIENCE
from tests.support.peers import Peer, client, http_get, worker
from tests.support.scale import scaled

SEQUENCES = scaled(200_000, 600)
PEERS = 20
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.randrange(2**32)

MEMBERS: dict[str, tuple[str, ...]] = {
    "pong": (),
    "ack": ("epoch", "offset"),
    "send": ("event", "data"),
    "refresh": ("token",),
    "connect": ("token",),
    "sessions": (),
    "notify": ("user", "event", "data", "durable", "collapse_key", "ttl", "idempotency_key"),
    "attach": ("user",),
    "detach": ("user",),
    "presence": ("user",),
    "accept": ("task", "offer"),
    "reject": ("task", "offer"),
    "progress": ("task", "data"),
    "done": ("task", "data"),
    "failed": ("task", "error"),
    "release": ("task", "error"),
}
KNOWN = {int(code) for code in CloseCode} | {1002, 1003, 1007, 1008}


class Generator:
    """Frames that are right, nearly right, and not at all."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def sequence(self) -> list[str | bytes]:
        return [self.frame() for _ in range(self.random.randint(1, 12))]

    def frame(self) -> str | bytes:
        kind = self.random.random()
        if kind < 0.03:
            return self.random.randbytes(self.random.randint(0, 40))
        if kind < 0.10:
            return self.garbage()
        frame = self.shaped()
        text = json.dumps(frame, ensure_ascii=self.random.random() < 0.5)
        if kind < 0.16:  # cut, doubled, or with a byte too many
            at = self.random.randint(0, len(text))
            text = self.random.choice([text[:at], text + text, text[:at] + "\x00" + text[at:]])
        return text.encode("utf-8", "replace").decode()

    def garbage(self) -> str:
        deep = self.random.choice([10, 1_000, 20_000])
        return self.random.choice(
            [
                "",
                " ",
                "null",
                "[]",
                "1e999",
                '"' + "x" * self.random.randint(0, 500),
                "[" * deep,
                '{"a":' * deep,
                "".join(self.random.choices(string.printable, k=self.random.randint(1, 60))),
            ]
        )

    def shaped(self) -> dict[str, Any]:
        type = self.random.choice([*MEMBERS, "unknown", "", 7, None])
        frame: dict[str, Any] = {"type": type}
        for name in MEMBERS.get(type, ("a",)) if isinstance(type, str) else ():
            if self.random.random() < 0.85:
                frame[name] = self.value(name)
        if self.random.random() < 0.7:
            frame["ref"] = self.random.choice([1, "r", -(2**70), 1.5, None, [], "x" * 129, True])
        if self.random.random() < 0.1:
            frame[self.text()] = self.anything(2)
        return frame

    def value(self, name: str) -> Any:
        if self.random.random() < 0.3:
            return self.anything(3)
        right: dict[str, Any] = {
            "epoch": self.text(),
            "offset": self.random.randint(0, 5),
            "user": self.random.choice(["42", "7", "한", "a/b", "x" * 1_025, ""]),
            "event": self.text() or "e",
            "data": self.anything(4),
            "durable": self.random.random() < 0.5,
            "ttl": self.random.choice([1, 0.5, -1, 1e300]),
        }
        return right.get(name, self.random.choice([new_id(), self.text()]))

    def anything(self, depth: int) -> Any:
        plain = [None, True, 0, -1, 2**63, 1e300, float("nan"), "", self.text(), "\ud800", "\x00"]
        if depth and self.random.random() < 0.3:
            some = [self.anything(depth - 1) for _ in range(self.random.randint(0, 3))]
            return self.random.choice([some, {self.text(): one for one in some}])
        return self.random.choice(plain)

    def text(self) -> str:
        return "".join(self.random.choices('aé한😀\u202e\x00"\\/ 0', k=self.random.randint(0, 9)))


seeds = itertools.count(SEED)


async def play(gateway: Gateway, number: int, count: int) -> int:
    """Play sequences, on a new socket where the last one was closed; how many sockets it took."""
    generator = Generator(next(seeds))
    peer: Peer | None = None
    sockets = 0
    for _ in range(count):
        if peer is None:
            sockets += 1
            peer = await (client(gateway, "42") if number % 2 else worker(gateway))
        try:
            for frame in generator.sequence():
                await peer.connection.send(frame)
            if generator.random.random() < 0.02:
                peer.connection.transport.abort()
                peer = None
                continue
            await answered(peer)
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            assert code in KNOWN, (SEED, str(error), gateway.log()[-1_000:])
            peer = None
    if peer is not None:
        await peer.close()
    return sockets


async def answered(peer: Peer) -> None:
    """The socket lives: a request gets its answer."""
    type = "sessions" if peer.welcome.get("user") else "presence"
    await peer.send(type=type, user="42", ref="the end")
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = json.loads(await peer.connection.recv())
            if frame["type"] == "ping":
                await peer.send(type="pong")
            elif frame.get("ref") == "the end":
                return


def resident(gateway: Gateway) -> int:
    assert gateway.process is not None
    return int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * 4_096


@pytest.mark.timeout(scaled(3_600, 200))
async def test_whatever_frames_come(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT) as gateway:
        await asyncio.gather(*(play(gateway, n, 5) for n in range(PEERS)))  # warm
        sockets, sizes = 0, [resident(gateway)]
        each = SEQUENCES // PEERS // 4
        for _ in range(4):
            sockets += sum(await asyncio.gather(*(play(gateway, n, each) for n in range(PEERS))))
            sizes.append(resident(gateway))
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while live(gateway):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        megabytes = ", ".join(f"{size / 2**20:.0f}" for size in sizes)
        told = f"{4 * each * PEERS} sequences, {sockets} sockets, {megabytes} MB (FUZZ_SEED={SEED})"
        print(f"\n{told}")  # noqa: T201
        assert live(gateway) == 0, "a session stayed behind"
        assert sizes[-1] - sizes[0] < 64 * 2**20
        log = gateway.log()
        assert "Traceback" not in log and "failed;" not in log, SEED


def live(gateway: Gateway) -> float:
    text = http_get(gateway.worker_port, "/metrics")[1].decode()
    lines = [line for line in text.splitlines() if line.startswith("gateway_sessions{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
