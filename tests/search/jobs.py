"""Gives tasks to workers, newcomers to nodes; keeps what became of them."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from sockets.base.ids import new_id
from tests.search.record import Job, Probe, Question, Record
from tests.search.senders import Http
from tests.search.stage import Stage
from tests.support.gateway import ROOT, WORKER_KEY

POOL = "p"
EVERY = 0.7
"""Seconds between two tasks, and between two probes of a node."""
NO_ANSWER = -1


@contextmanager
def workers(stage: Stage) -> Iterator[None]:
    """A worker process for each of the first two nodes, that does as it likes."""
    processes = []
    try:
        for number, node in enumerate(stage.nodes[:2]):
            journal = stage.folder / f"worker-{number}.jsonl"
            url = node.worker_url(worker_id=new_id(), pools=POOL, capacity="4", name=f"w{number}")
            command = ("-m", "tests.acceptance.task_worker", url, WORKER_KEY, str(journal))
            with (stage.folder / f"worker-{number}.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *command, str(stage.setting.users + number)],
                        cwd=ROOT,
                        stdout=log,
                        stderr=log,
                    )
                )
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def assign(stage: Stage, http: Http, record: Record, dice: random.Random) -> None:
    """For ever: a task, for one of the users."""
    while True:
        await asyncio.sleep(EVERY * dice.uniform(0.5, 1.5))
        job = Job(new_id(), f"u{dice.randrange(stage.setting.users)}", time.time())
        record.jobs.append(job)
        body = {"pool": POOL, "event": "work", "data": {}, "user": job.user, "task_id": job.id}
        try:
            found = await http.request(dice.randrange(len(stage.nodes)), "POST", "/tasks", **body)
        except httpx.HTTPError as error:
            job.detail = type(error).__name__
        else:
            job.status = found.status_code
            job.detail = found.text[:200] if job.status != 201 else ""


def ends(stage: Stage) -> list[dict[str, Any]]:
    """Every end of a task that a receiver of any node has heard of."""
    found = []
    for number in range(len(stage.nodes)):
        found += _lines(stage.ended(number))
    return found


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    whole = file.read_text().rpartition("\n")[0]
    parsed = []
    for line in whole.splitlines():
        try:
            parsed.append(json.loads(line))
        except ValueError:
            continue  # half written, by a process that was killed
    return parsed


async def probe(stage: Stage, record: Record, node: int) -> None:
    """For ever: ask a node whether it is ready, and come as somebody new."""
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        for number in count():
            at = time.time()
            code = await _newcomer(stage, node, f"new{node}-{number % 5}")
            ready = await _ready(stage, client, node)
            record.probes.append(Probe(at, node, ready, code))
            await asyncio.sleep(EVERY)


async def ask(stage: Stage, http: Http, record: Record, dice: random.Random) -> None:
    """For ever: ask some node about the presence of some user."""
    while True:
        await asyncio.sleep(EVERY / 3)
        user, node = f"u{dice.randrange(stage.setting.users)}", dice.randrange(len(stage.nodes))
        began = time.time()
        try:
            found = await http.request(node, "GET", f"/users/{user}")
        except httpx.HTTPError:
            continue
        state = found.json()["state"] if found.status_code == 200 else f"HTTP {found.status_code}"
        record.questions.append(Question(began, time.time(), node, user, state))


async def _ready(stage: Stage, client: httpx.AsyncClient, node: int) -> int:
    try:
        found = await client.get(stage.nodes[node].http("/readyz", private=True))
    except httpx.HTTPError:
        return NO_ANSWER
    return found.status_code


async def _newcomer(stage: Stage, node: int, user: str) -> int:
    """The close code; 0 if it was welcomed."""
    url = stage.nodes[node].client_url(user_id=user)
    try:
        async with (
            asyncio.timeout(4),
            connect(url, ping_interval=None, close_timeout=0.5, proxy=None) as socket,
        ):
            await socket.recv()
            return 0
    except InvalidHandshake as error:
        answer = getattr(error, "response", None)
        return 1013 if answer and answer.status_code == 503 else NO_ANSWER
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else NO_ANSWER
    except (OSError, WebSocketException, TimeoutError, EOFError):
        return NO_ANSWER
