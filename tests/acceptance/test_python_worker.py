"""The worker of the Python package: its command as a process, real gateways, and what breaks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_client import AsyncClient, Worker, errors
from sockets.base.ids import new_id
from tests.acceptance.test_tasks import TASKS, ends, lines, until
from tests.support.gateway import API_KEY, ROOT, WORKER_KEY, Gateway, running
from tests.support.peers import client
from tests.support.valkey import Server

WAYS = ("coroutine", "thread", "process")


class Crew:
    """Worker processes by id, and the journal that they share."""

    def __init__(self, site: Gateway) -> None:
        self.site = site
        self.path = site.data_dir / "worker.jsonl"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, pools: dict[str, int], *options: str, id: str = "") -> str:
        id = id or new_id()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPATH": f"{ROOT}:{ROOT}/clients/python",
            "WORKER_SOCKET_URL": f"ws://127.0.0.1:{self.site.worker_port}",
            "WORKER_KEY": WORKER_KEY,
            "WORKER_ID": id,
            "POOLS": json.dumps(pools),
            "JOURNAL": str(self.path),
        }
        target = "tests.acceptance.client_worker:worker"
        with (self.site.data_dir / f"worker-{id}.log").open("ab") as log:
            self.processes[id] = subprocess.Popen(
                [sys.executable, "-m", "gateway_client", "worker", target, *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        return id

    def log(self, id: str) -> str:
        return (self.site.data_dir / f"worker-{id}.log").read_text()

    def kill(self, id: str) -> None:
        """kill -9."""
        self.processes[id].kill()
        self.processes.pop(id).wait()

    async def ended(self, id: str) -> int:
        """The exit code; one that does not end says where it is."""
        try:
            return await asyncio.to_thread(self.processes[id].wait, 20)
        except subprocess.TimeoutExpired:
            self.processes[id].send_signal(signal.SIGABRT)
            self.processes[id].wait()
            raise AssertionError(self.log(id)) from None

    def journal(self, what: str) -> list[dict[str, Any]]:
        return [line for line in lines(self.path) if line["what"] == what]

    def has(self, what: str, task: str) -> bool:
        return any(line["task"] == task for line in self.journal(what))

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def crew(own_site: Gateway) -> Iterator[Crew]:
    made = Crew(own_site)
    yield made
    made.stop()


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path / "data", **TASKS) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway, and a worker of all three ways, for tests that leave both as they were."""
    with running(tmp_path_factory.mktemp("site"), **TASKS) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def shared(site: Gateway) -> Iterator[Crew]:
    made = Crew(site)
    made.start(dict.fromkeys(WAYS, 2))
    yield made
    made.stop()


@pytest.fixture
async def api(shared: Crew) -> AsyncIterator[AsyncClient]:
    async with api_of(shared.site) as made:
        yield made


def api_of(site: Gateway) -> AsyncClient:
    return AsyncClient(f"http://127.0.0.1:{site.worker_port}", API_KEY)


async def assigned(
    api: AsyncClient, pool: str, event: str = "e", user: str = "", **data: Any
) -> str:
    """The id of a task that a worker has taken; asked for until there is one."""
    while True:
        try:
            task = await api.assign_task(pool, event, {"do": "", **data}, user=user or None)
        except errors.NoWorkerAvailable:
            await asyncio.sleep(0.05)
        else:
            return task.id


async def end_of(site: Gateway, task: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [end for end in ends(site) if end["id"] == task]

    (end,) = await until(found, f"the end of {task}")
    return dict(end)


# --- what a handler does, and what becomes of it


@pytest.mark.parametrize("way", WAYS)
async def test_progress_and_a_result(shared: Crew, api: AsyncClient, way: str) -> None:
    user = new_id()
    tab = await client(shared.site, user)
    task = await assigned(api, way, user=user, parts=2, seconds=0.15)
    told = [await tab.receive() for _ in range(3)]
    assert [(frame["event"], frame["data"]["data"]) for frame in told[:2]] == [
        ("task.progress", {"part": 0}),
        ("task.progress", {"part": 1}),
    ]
    assert told[2]["event"] == "task.done" and told[2]["data"]["task"] == task
    own = told[2]["data"]["data"]["pid"] == next(iter(shared.processes.values())).pid
    assert own == (way != "process")
    assert (await end_of(shared.site, task))["state"] == "done"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("do", "state", "error"),
    [
        ("fail", "failed", "no image"),
        ("hand back", "released", "the disk is full"),
        ("raise", "failed", "the worker's code failed (KeyError)"),
        ("nonsense", "failed", "the result: data cannot be written as JSON"),
    ],
)
async def test_what_a_handler_raises(
    shared: Crew, api: AsyncClient, way: str, do: str, state: str, error: str
) -> None:
    end = await end_of(shared.site, await assigned(api, way, do=do))
    assert end["state"] == state and end["error"].startswith(error), end
    assert "a secret" not in end["error"]


async def test_a_process_that_dies_fails_its_task_alone(shared: Crew, api: AsyncClient) -> None:
    end = await end_of(shared.site, await assigned(api, "process", do="exit"))
    assert end["state"] == "failed" and end["error"] == "the worker's code failed (exit code 3)"
    assert (await end_of(shared.site, await assigned(api, "process")))["state"] == "done"


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_task_is_stopped(shared: Crew, api: AsyncClient, way: str) -> None:
    task = await assigned(api, way, parts=600, seconds=0.05)
    await until(lambda: shared.has("begin", task), "the begin")
    assert await api.cancel_task(task)
    await until(lambda: shared.has("stopped", task), "the stop")
    await until(lambda: shared.has("end", task), "the end")
    assert (await end_of(shared.site, task))["state"] == "cancelled"


@pytest.mark.parametrize("way", WAYS)
async def test_a_time_limit(shared: Crew, api: AsyncClient, way: str) -> None:
    task = await assigned(api, way, "short", parts=600, seconds=0.05)
    end = await end_of(shared.site, task)
    assert (end["state"], end["error"]) == ("failed", "it took longer than 0.3 s")
    if shared.has("begin", task):  # a process may have had no time to
        await until(lambda: shared.has("end", task), "the end")


async def test_a_slow_handler_is_not_lost_and_its_user_hears_nothing_of_that(
    shared: Crew, api: AsyncClient
) -> None:
    await end_of(shared.site, await assigned(api, "thread"))  # there is a worker
    user = new_id()
    tab = await client(shared.site, user)
    data = {"do": "", "parts": 1, "seconds": 3}
    task = await api.assign_task("thread", "e", data, user=user, timeout=2)
    told = [(await tab.receive())["event"] for _ in range(2)]
    assert told == ["task.progress", "task.done"]
    assert (await end_of(shared.site, task.id))["state"] == "done"


async def test_no_more_than_the_places_of_a_pool(shared: Crew, api: AsyncClient) -> None:
    """Of each pool, whatever the worker takes in all."""
    asking = [assigned(api, "thread", seconds=0.05) for _ in range(12)]
    asking += [assigned(api, "coroutine", seconds=0.05) for _ in range(12)]
    tasks = await asyncio.gather(*asking)
    for task in tasks:
        await end_of(shared.site, task)
    at_once, most = Counter[str](), Counter[str]()
    place = {task: n // 12 for n, task in enumerate(tasks)}
    for line in lines(shared.path):
        if line["task"] in place and line["what"] in ("begin", "end"):
            pool = str(place[line["task"]])
            at_once[pool] += 1 if line["what"] == "begin" else -1
            most[pool] = max(most[pool], at_once[pool])
    assert most == {"0": 2, "1": 2}


# --- its end, and what breaks


async def test_at_sigterm_what_runs_may_finish_and_the_rest_is_handed_back(crew: Crew) -> None:
    id = crew.start(dict.fromkeys(WAYS, 2), "--grace=3")
    async with api_of(crew.site) as api:
        quick = [await assigned(api, way, seconds=0.8) for way in WAYS]
        slow = [await assigned(api, way, parts=600, seconds=0.1) for way in WAYS]
        await until(lambda: len(crew.journal("begin")) == 6, "all to begin")
        crew.processes[id].send_signal(signal.SIGTERM)
        assert await crew.ended(id) == 0
    assert [(await end_of(crew.site, task))["state"] for task in quick] == ["done"] * 3
    assert [(await end_of(crew.site, task))["state"] for task in slow] == ["released"] * 3
    assert {line["task"] for line in crew.journal("stopped")} == set(slow)
    assert "Traceback" not in crew.log(id), crew.log(id)


async def test_a_second_sigterm_hands_back_at_once(crew: Crew) -> None:
    id = crew.start({"coroutine": 1}, "--grace=600")
    async with api_of(crew.site) as api:
        task = await assigned(api, "coroutine", seconds=600)
    await until(lambda: crew.has("begin", task), "the begin")
    crew.processes[id].send_signal(signal.SIGTERM)
    await until(lambda: "stopping" in crew.log(id), "the first")
    crew.processes[id].send_signal(signal.SIGTERM)
    assert await crew.ended(id) == 0
    assert (await end_of(crew.site, task))["state"] == "released"


async def test_killed_in_mid_task_its_task_is_lost_and_nobody_is_left_at_work(crew: Crew) -> None:
    id = crew.start(dict.fromkeys(WAYS, 1))
    async with api_of(crew.site) as api:
        tasks = [await assigned(api, way, parts=6_000, seconds=0.01) for way in WAYS]
        begun = await until(lambda: [*crew.journal("begin")][2:] and crew.journal("begin"), "all")
        crew.kill(id)
        for task in tasks:
            assert (await end_of(crew.site, task))["state"] == "lost"
        pids = {line["pid"] for line in begun}
        await until(lambda: not any(map(_lives, pids)), "its process to end")
        crew.start(dict.fromkeys(WAYS, 1), id=id)
        assert (await end_of(crew.site, await assigned(api, "thread")))["state"] == "done"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_one_that_returns_with_its_id_hands_back_what_it_does_not_know(crew: Crew) -> None:
    id = crew.start({"thread": 1})
    async with api_of(crew.site) as api:
        task = await assigned(api, "thread", parts=6_000, seconds=0.01)
        await until(lambda: crew.has("begin", task), "the begin")
        crew.kill(id)
        crew.start({"thread": 1}, id=id)
        end = await end_of(crew.site, task)
    assert end["state"] in ("released", "lost")


async def test_in_redis_mode_tasks_go_on_while_the_gateway_is_killed_and_started(
    tmp_path: Path, redis: Server
) -> None:
    settings = TASKS | {"REDIS_URL": redis.url, "LEASE_TTL": "3", "LEASE_RENEW": "1"}
    settings |= {"TASK_GRACE": "60", "TASK_TIMEOUT": "60"}  # however long a start may take
    with running(tmp_path / "data", **settings) as site:
        made = Crew(site)
        try:
            id = made.start(dict.fromkeys(WAYS, 1))
            async with api_of(site) as api:
                tasks = [await assigned(api, way, parts=20, seconds=0.1) for way in WAYS]
                await until(lambda: len(made.journal("begin")) == 3, "all to begin")
                site.kill()
                await asyncio.to_thread(site.start)
                states = [(await end_of(site, task))["state"] for task in tasks]
            assert states == ["done"] * 3
            assert "gateway away" in made.log(id) and len(made.journal("begin")) == 3
        finally:
            made.stop()


async def test_in_memory_mode_a_restart_stops_what_is_nobodys(crew: Crew) -> None:
    crew.start({"coroutine": 1})
    async with api_of(crew.site) as api:
        task = await assigned(api, "coroutine", seconds=600)
        await until(lambda: crew.has("begin", task), "the begin")
        crew.site.kill()
        await asyncio.to_thread(crew.site.start)
        await until(lambda: crew.has("stopped", task), "the stop")
        assert (await end_of(crew.site, await assigned(api, "coroutine")))["state"] == "done"


async def test_the_verdict_of_an_operator_ends_it(crew: Crew) -> None:
    id = crew.start({"thread": 1}, "--health-file", str(crew.site.data_dir / "health.json"))
    file = crew.site.data_dir / "health.json"
    probe = [sys.executable, "-m", "gateway_client", "health", str(file)]
    environment = {"PYTHONPATH": f"{ROOT}/clients/python"}
    async with api_of(crew.site) as api:
        await end_of(crew.site, await assigned(api, "thread"))
        await until(lambda: '"connected"' in file.read_text(), "the health")
        done = await asyncio.to_thread(subprocess.run, probe, env=environment, capture_output=True)
        assert (done.returncode, done.stdout) == (0, b"well\n")
        (session,) = [one async for one in api.sessions() if one.kind == "worker"]
        await api.disconnect_session(session.id, reason="go home")
    assert await crew.ended(id) == 1
    assert "error: the gateway closed with 4504: go home\n" in crew.log(id)
    assert not file.exists()
    done = await asyncio.to_thread(subprocess.run, probe, env=environment, capture_output=True)
    assert done.returncode == 1 and b"does not run" in done.stdout


# --- its notifications


@pytest.fixture
async def own_worker(own_site: Gateway) -> AsyncIterator[Worker]:
    """One in this process."""
    site = own_site
    worker = Worker(f"ws://127.0.0.1:{site.worker_port}", WORKER_KEY, pools={"p": 1}, buffer=20)
    worker.task("p")(print)
    life = asyncio.ensure_future(worker.serve())
    await until(lambda: worker.state == "connected", "the welcome")
    yield worker
    worker.stop()
    await life


async def test_notifications_wait_for_the_gateway_and_come_once(
    own_site: Gateway, own_worker: Worker
) -> None:
    site, worker = own_site, own_worker
    receipt = await worker.notify("u", "e", 0, collapse_key="k")
    again = await worker.notify("u", "e", 0, idempotency_key="mine")
    assert receipt.offset == 1 and again.offset == 2
    with pytest.raises(errors.TooLarge):
        await worker.notify("u", "e", "x" * 70_000)
    with pytest.raises(errors.InvalidRequest):
        await worker.notify("u", "")
    site.kill()
    await until(lambda: worker.state == "away", "the loss")
    with pytest.raises(errors.Unavailable, match="now or never"):
        await worker.notify("u", "e", durable=False)
    waiting = [asyncio.ensure_future(worker.notify("u", "e", n)) for n in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(errors.BufferFull) as caught:
        await worker.notify("u", "e")
    assert caught.value.outcome == "nothing"
    await asyncio.to_thread(site.start)
    receipts = await asyncio.gather(*waiting)
    assert [one.offset for one in receipts] == list(range(1, 21)), "in order, in a new stream"
    thread = asyncio.to_thread(worker.notify_from_thread, "u", "e", "of a thread")
    assert (await thread).offset == 21


# --- many tasks, and workers that are killed


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", ["quick", pytest.param("full", marks=pytest.mark.soak)])
async def test_many_tasks_over_three_workers_that_are_killed(
    crew: Crew, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backend that keeps its jobs assigns each until it is done; no task ends twice."""
    count, seed = 1_000 if size == "full" else 50, random.getrandbits(32)
    dice = random.Random(seed)
    ids = [crew.start(dict.fromkeys(WAYS, 3)) for _ in range(3)]
    tasks: dict[str, int] = {}
    kills = 0
    finished = asyncio.Event()

    async def one(number: int) -> None:
        """One job: again after a loss."""
        async with places:
            while True:
                way = dice.choice(WAYS[:2] if number % 10 else WAYS)
                do = "fail" if number % 10 == 9 else ""
                task = await assigned(api, way, n=number, do=do, seconds=dice.uniform(0, 0.1))
                tasks[task] = number
                if (await end_of(crew.site, task))["state"] in ("done", "failed"):
                    return

    async def kill_often() -> None:
        nonlocal kills
        while not finished.is_set():
            await asyncio.sleep(dice.uniform(0.5, 1.5))
            id = dice.choice(ids)
            crew.kill(id)
            kills += 1
            crew.start(dict.fromkeys(WAYS, 3), id=id)

    places = asyncio.Semaphore(16)
    async with api_of(crew.site) as api:
        killer = asyncio.ensure_future(kill_often())
        await asyncio.gather(*[one(number) for number in range(count)])
        finished.set()
        await killer
    told = ends(crew.site)
    states = Counter(end["state"] for end in told)
    twice = [task for task, n in Counter(end["id"] for end in told).items() if n > 1]
    begun = Counter(line["n"] for line in crew.journal("begin"))
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{count} jobs over 3 workers, {kills} times kill -9 (seed {seed}): "
            f"done {states['done']}, failed {states['failed']}, lost {states['lost']}, "
            f"released {states['released']}; ended twice {len(twice)}, "
            f"run twice {sum(n > 1 for n in begun.values())}"
        )
    assert twice == []
    assert states["done"] + states["failed"] == count
    assert {tasks[end["id"]] for end in told if end["state"] == "failed"} == set(
        range(9, count, 10)
    )
    assert set(begun) == set(range(count))
