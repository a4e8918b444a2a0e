"""What the ledger says of deliveries, compared with what receivers really got and acknowledged.

Two gateway processes, a publisher in a third; while links are cut, Redis restarts, sessions wander
and a node is killed, somebody asks what became of messages. Each answer is judged at the end, by
what each receiver noted: none may be wrong, and what is unknown is counted and has a reason.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import WebSocketException

from sockets.base.ids import new_id
from tests.acceptance.cluster import Cluster, Listener, cluster
from tests.acceptance.test_nothing_is_lost import (
    DURABLE,
    SETTINGS,
    Trouble,
    a_node_dies,
    clients_wander,
    links_are_cut,
    redis_is_frozen,
    redis_is_restarted,
)
from tests.support.gateway import API_KEY, Gateway
from tests.support.scale import scaled
from tests.support.valkey import Server

USERS = scaled(100, 10)
MESSAGES = scaled(5_000, 300)
RATE = scaled(500, 100)
"""A second."""

ASKED = scaled(1_500, 75)
"""Questions at most while it happens, and as many afterwards."""

PATIENCE = scaled(400, 120)
"""Seconds that half of the messages may take on a machine that is busy."""

APART = 0.5
"""Seconds by which the clocks of a node, of Redis and of this process may differ."""

ENDING = 2.0
"""Seconds after which the end of a session is in the ledger, however busy the machine is."""

NEVER = float("inf")


@dataclass(eq=False)
class Witness(Listener):
    """A session that acknowledges some of what it gets, and notes all that happens to it.

    `left`: it does not come back; `gone`: since when. `cut`: it has dropped its last socket, and
    what was on its way there is lost. `got`: when each message of an epoch came first. `acks`:
    epoch, offset, when it was sent, when it was answered. `came`: with which position it came, when
    it began to, when it was welcome (NEVER: it dropped the socket before it heard), `recovered`.
    """

    got: dict[tuple[str, int], float] = field(default_factory=dict)
    acks: list[list[Any]] = field(default_factory=list)
    came: list[list[Any]] = field(default_factory=list)
    lazy: bool = field(default_factory=lambda: random.random() < 0.3)
    left: bool = False
    cut: bool = False
    gone: float = NEVER

    def url(self) -> str:
        if self.left:
            self.gone = min(self.gone, time.time())
            raise OSError("it does not come back")
        self.came.append([self.epoch, self.offset, time.time(), NEVER, None])
        return super().url()

    async def move(self) -> None:
        if not self.left:
            self.cut = True
            await super().move()

    async def on_frame(self, frame: dict[str, Any]) -> None:
        now = time.time()
        await super().on_frame(frame)
        match frame["type"]:
            case "welcome":
                self.cut = False
                self.came[-1][3:] = now, frame["recovered"]
            case "message":
                self.got.setdefault((self.epoch, frame["offset"]), now)
                if not self.lazy and random.random() < 0.5:
                    await self.acknowledge()
            case "reply":
                self.acks[frame["ref"]][3] = now

    async def acknowledge(self) -> None:
        ack = {"type": "ack", "epoch": self.epoch, "offset": self.offset, "ref": len(self.acks)}
        self.acks.append([self.epoch, self.offset, time.time(), NEVER])
        with suppress(WebSocketException):
            await self.socket.send(json.dumps(ack))

    def acked(self, epoch: str, offset: int) -> tuple[float, float]:
        """When it first sent an acknowledgement of a message, and when one was first answered."""
        found = [one for one in self.acks if one[0] == epoch and one[1] >= offset]
        return (
            min((sent for *_, sent, _ in found), default=NEVER),
            min((answered for *_, answered in found), default=NEVER),
        )


@dataclass
class Answer:
    """What the ledger said of a message and one client, and when it was asked."""

    epoch: str
    offset: int
    message: dict[str, Any]
    client: dict[str, Any]
    asked: float


def is_wrong(answer: Answer, witness: Witness) -> str:
    """Return what is wrong with an answer by what its client noted; "": nothing."""
    said, epoch, offset = answer.client, answer.epoch, answer.offset
    got = witness.got.get((epoch, offset), NEVER)
    sent_ack, answered_ack = witness.acked(epoch, offset)
    at: float = said["at"] or 0.0
    match said["standing"]:
        case "acknowledged":
            return "" if sent_ack <= at + APART else "it had not acknowledged"
        case "not_acknowledged":
            if answered_ack < at - APART:
                return "it had acknowledged"
            return "it had been sent it" if got < at - APART else ""
        case "sent" | "recovered" if got == NEVER and not (witness.left and witness.cut):
            return "it never got it"
        case "sent" | "recovered" if answered_ack < said["as_of"] - APART:
            return "it had acknowledged"
        case "recovered" | "claimed" as standing:
            next_ones = [*(begun for _, _, begun, *_ in witness.came[1:]), NEVER]
            for come, next_one in zip(witness.came, next_ones, strict=True):
                of, position, begun, welcome, recovered = come
                now = begun <= at + APART and at - APART <= min(welcome, next_one)
                after = position >= offset if standing == "claimed" else position < offset
                if now and of == epoch and after and (recovered or welcome == NEVER):
                    return ""
            return "it did not come back so"
        case "sent" | "unknown":
            return ""
    return "there was no reason for that"


def unexplained(answer: Answer, witness: Witness, trouble: str) -> str:
    """Return why an unknown must not be; "": it has its reason."""
    why, as_of = answer.client["why"], answer.client["as_of"]
    if why == "lost" and witness.left and answer.asked < witness.gone + ENDING:
        return ""  # its end was on its way
    if trouble != "a_node_dies":
        # A session that is cut off is at its end within a moment, and nothing is left out.
        return f"{why}, and no node died" if why != "silent" else ""
    if why == "lost" and answer.message["at"] < as_of - APART:
        return "appended before the client was last heard of" if answer.offset else ""
    return "" if why in ("lost", "silent") else f"{why} is no part of this"


class Asker:
    """Asks a node about messages, at random, of users and positions near the end."""

    def __init__(self, audience: Cluster) -> None:
        self._audience = audience
        self._http = httpx.AsyncClient(trust_env=False, timeout=30)
        self.answers: list[Answer] = []
        self.left_out = 0

    async def during(self, count: int) -> None:
        for _ in range(count):
            with suppress(httpx.HTTPError, asyncio.TimeoutError):
                await self.ask(random.choice(self._audience.listeners))
            await asyncio.sleep(0.02)  # how often

    async def ask(self, one: Listener) -> None:
        if one.offset < 1:
            return
        epoch = one.epoch
        offset = max(1, one.offset - int(random.expovariate(0.2)) + random.randint(0, 2))
        asked = time.time()
        node = self._node()
        response = await self._http.get(
            node.http(f"/api/v1/users/{one.user}/messages/{offset}/delivery", private=True),
            params={"epoch": epoch},
            headers={"Authorization": f"Bearer {API_KEY}"},
        )
        if response.status_code != 200:
            assert response.status_code == 503, response.text
            return
        told = response.json()
        if told["message"]["fate"] != "kept":
            return  # it is not there yet
        self.answers += [
            Answer(epoch, offset, told["message"], client, asked) for client in told["clients"]
        ]
        known = {client["client_id"] for client in told["clients"]}
        mine = [each.client for each in self._audience.listeners if each.user == one.user]
        self.left_out += sum(client not in known for client in mine)

    def _node(self) -> Gateway:
        found = next((node for node in self._audience.nodes if not node.ended()), None)
        assert found is not None, "no node is left"
        return found

    async def send_away(self, one: Witness) -> None:
        """End a session by its node's close frame: it has read all that was sent to it by then."""
        one.left = True
        while one.gone == NEVER:
            node = self._node()
            with suppress(httpx.HTTPError):
                await self._http.delete(
                    node.http(f"/api/v1/users/{one.user}/sessions", private=True),
                    params={"client": one.client},
                    headers={"Authorization": f"Bearer {API_KEY}"},
                )
            await asyncio.sleep(0.1)  # it ends by itself where the message was lost

    async def one_more(self, user: str) -> None:
        """Send a message that those who have left do not get."""
        key = new_id()
        while True:
            with suppress(httpx.HTTPError):
                sent = await self._http.post(
                    self._node().http(f"/api/v1/users/{user}/messages", private=True),
                    json={"event": "e", "idempotency_key": key},
                    headers={"Authorization": f"Bearer {API_KEY}"},
                )
                if sent.status_code == 200:
                    receipt = sent.json()
                    self._audience.heads[user] = receipt["epoch"], receipt["offset"]
                    return
            await asyncio.sleep(0.1)  # Redis is away

    async def close(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def asking(audience: Cluster) -> AsyncIterator[Asker]:
    made = Asker(audience)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(*getattr(request, "param", ()))
    yield made
    made.stop()


TROUBLES = [
    (links_are_cut, ()),
    pytest.param(redis_is_frozen, (), marks=pytest.mark.soak),
    pytest.param(redis_is_restarted, DURABLE, marks=pytest.mark.soak),
    (clients_wander, ()),
    (a_node_dies, ()),
]


@pytest.mark.timeout(scaled(600, 180))
@pytest.mark.parametrize(
    ("trouble", "server"),
    TROUBLES,
    ids=lambda value: getattr(value, "__name__", ""),
    indirect=["server"],
)
async def test_no_answer_is_wrong(
    trouble: Trouble, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    durability = "always" if server.options == DURABLE else "usual"
    async with cluster(
        tmp_path,
        server.url,
        users=USERS,
        listen=Witness,
        **SETTINGS,
        REDIS_DURABILITY=durability,
        API_RATE="0",
    ) as audience:
        async with asking(audience) as asker:
            await endure(audience, server, trouble, asker)
            await asker.during(ASKED)
        await judge(audience, asker, trouble.__name__, capsys)


async def endure(audience: Cluster, server: Server, trouble: Trouble, asker: Asker) -> None:
    """Publish and ask while it happens; some clients of a node that is killed never come back."""
    if trouble is a_node_dies:
        for one in audience.listeners[1::4]:
            if one.node == 1:
                one.nodes = [audience.nodes[1]] * 2  # where the others go it does not come
    asks = asyncio.ensure_future(asker.during(ASKED))
    troubling = asyncio.ensure_future(trouble(audience, server))
    leaving = asyncio.ensure_future(some_leave(audience, asker))
    await audience.publish(MESSAGES, RATE)
    await leaving
    for user in audience.heads:
        await asker.one_more(user)
    if trouble in (links_are_cut, clients_wander):
        troubling.cancel()
    await asyncio.wait({troubling, asks})
    here = [one for one in witnesses(audience) if one.nodes is audience.nodes and not one.left]
    await audience.until("all at the head", lambda: not {*here} & {*audience.behind()})


def witnesses(audience: Cluster) -> list[Witness]:
    return [one for one in audience.listeners if isinstance(one, Witness)]


async def some_leave(audience: Cluster, asker: Asker) -> None:
    """Half way, a fifth of those who are not to be lost with a node."""
    half = len(audience.listeners) * MESSAGES // USERS // 2
    await audience.until("half of it", lambda: audience.total()["messages"] > half, PATIENCE)
    going = [one for one in witnesses(audience)[2::5] if one.nodes is audience.nodes]
    await asyncio.gather(*map(asker.send_away, going))


async def judge(
    audience: Cluster, asker: Asker, trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_client = {one.client: one for one in witnesses(audience)}
    counts: Counter[str] = Counter()
    wrong: list[tuple[str, Answer]] = []
    for answer in asker.answers:
        said = answer.client
        counts[said["standing"] + (f" ({said['why']})" if said["why"] else "")] += 1
        witness = by_client[said["client_id"]]
        problem = is_wrong(answer, witness)
        if said["standing"] == "unknown":
            problem = problem or unexplained(answer, witness, trouble)
        if problem:
            wrong.append((problem, answer))
    with capsys.disabled():
        told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        sys.stdout.write(
            f"\n{trouble}: {len(asker.answers)} answers: {told}; clients left out "
            f"{asker.left_out}; wrong {len(wrong)}\n"
        )
    assert wrong == [], f"{len(wrong)} of {len(asker.answers)}; the first: {wrong[:3]}"
    assert counts["acknowledged"] and counts["sent"] and counts["not_acknowledged"]
    if trouble == "a_node_dies":
        assert counts["unknown (lost)"], "some never came back"
    else:
        assert asker.left_out == 0
