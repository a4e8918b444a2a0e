"""Tasks with real processes: a gateway whose Django code assigns, workers that are killed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sockets.base.ids import new_id
from tests.support.gateway import ROOT, SHORT, WORKER_KEY, Gateway, running
from tests.support.patience import PATIENCE
from tests.support.peers import Peer, client, http_get, worker
from tests.support.scale import scaled

GRACE = 1.0

TASKS = SHORT | {
    "DJANGO_SETTINGS_MODULE": "tests.acceptance.task_settings",
    "TASK_ACCEPT_TIMEOUT": "2",
    "TASK_ASSIGN_TIMEOUT": "10",
    "TASK_TIMEOUT": "6",
    "TASK_GRACE": str(GRACE),
    "TASK_HISTORY": "100000",
}
"""Patience that a test can wait for, and Django code that assigns."""

RETURN = 2.0
"""Seconds in which a worker that was killed can be back: a start of Python, and a busy machine."""

HASTY = TASKS | {
    "TASK_ACCEPT_TIMEOUT": "0.4",
    "TASK_ASSIGN_TIMEOUT": "3",
    "TASK_GRACE": str(RETURN),
}
"""Where a worker may come too late."""


@contextmanager
def sound(folder: Path, settings: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that logs no traceback."""
    with running(folder, **settings) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with sound(tmp_path_factory.mktemp("site"), TASKS) as gateway:
        yield gateway


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Gateway]:
    """For a test that kills, or counts everything."""
    with sound(tmp_path / "data", TASKS) as gateway:
        yield gateway


@pytest.fixture
def hasty_site(tmp_path: Path) -> Iterator[Gateway]:
    """The same, that waits less for its workers."""
    with sound(tmp_path / "data", HASTY) as gateway:
        yield gateway


async def call(site: Gateway, function: str, **arguments: Any) -> Any:
    """A function of the API, called by Django code in the gateway's process."""
    status, answer = await asyncio.to_thread(
        http_get,
        site.worker_port,
        f"/task/{function}",
        method="POST",
        body=json.dumps(arguments).encode(),
    )
    assert status == 200, site.log()
    return json.loads(answer)


def ends(site: Gateway) -> list[dict[str, Any]]:
    """Every end of a task that Django code heard of, in order."""
    return lines(site.data_dir / "ended.jsonl")


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # The last line may be half written, by a process that was killed or still writes.
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def ends_of(site: Gateway, task: str) -> list[str]:
    return [end["state"] for end in ends(site) if end["id"] == task]


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (value := condition()):
        assert loop.time() < deadline, f"timed out: {what}"
        await asyncio.sleep(0.02)
    return value


async def assigned(site: Gateway, one: Peer, pool: str, **given: Any) -> dict[str, Any]:
    """A task that this worker has begun."""
    asking = asyncio.create_task(call(site, "assign_task", pool=pool, event="e", **given))
    offered = await one.receive()
    assert offered["type"] == "task", offered
    assert (await one.ask(type="accept", task=offered["task"], offer=offered["offer"]))["ok"]
    task: dict[str, Any] = await asking
    assert task["state"] == "running"
    return task


async def test_a_task_from_its_assignment_to_its_result(site: Gateway) -> None:
    pool, tab = "life", await client(site, "life")
    one = await worker(site, pools=pool, capacity="2")
    task = await assigned(site, one, pool, data={"n": 1}, user_id="life")
    assert (await one.ask(type="progress", task=task["id"], data={"percent": 50}))["ok"]
    assert (await one.ask(type="done", task=task["id"], data={"url": "/한"}))["ok"]
    told = [await tab.receive() for _ in range(2)]
    assert [(frame["event"], frame["data"]) for frame in told] == [
        ("task.progress", {"task": task["id"], "data": {"percent": 50}}),
        ("task.done", {"task": task["id"], "data": {"url": "/한"}}),
    ]
    (end,) = [end for end in ends(site) if end["id"] == task["id"]]
    assert (end["state"], end["result"], end["user"]) == ("done", {"url": "/한"}, "life")
    found = await call(site, "task", task_id=task["id"])
    assert found["state"] == "done" and found["worker"].startswith("tester/")


async def test_nobody_to_take_it_is_told_with_the_pools_there_are(site: Gateway) -> None:
    one = await worker(site, pools="told", capacity="2")
    await assigned(site, one, "told")
    answer = await call(site, "assign_task", pool="absent", event="e")
    assert answer["error"] == "NoWorkerAvailable"
    assert "no worker of pool 'absent' is connected" in answer["text"]
    assert "told (1 workers, 1 of 2 taken)" in answer["text"]


async def test_who_does_not_answer_or_rejects_or_goes_is_followed_by_the_next(
    site: Gateway,
) -> None:
    silent, no, gone, yes = [await worker(site, pools="next") for _ in range(4)]
    asking = asyncio.create_task(call(site, "assign_task", pool="next", event="e"))
    late = await silent.receive()
    offered = await no.receive()
    assert (await no.ask(type="reject", task=offered["task"], offer=offered["offer"]))["ok"]
    await gone.receive()
    await gone.close()
    offered = await yes.receive()
    assert (await yes.ask(type="accept", task=offered["task"], offer=offered["offer"]))["ok"]
    assert (await asking)["state"] == "running"
    answer = await silent.ask(type="accept", task=late["task"], offer=late["offer"])
    assert answer["error"]["code"] == "task_lost", "too late"


async def test_a_loss_reaches_the_users_stream(site: Gateway) -> None:
    """Though the user asked for no progress; also one that was away meanwhile."""
    pool, user = "loss", "loss"
    tab = await client(site, user)
    position = {"epoch": tab.welcome["epoch"], "offset": str(tab.welcome["offset"])}
    id = new_id()
    one = await worker(site, pools=pool, worker_id=id)
    task = await assigned(site, one, pool, user_id=user, progress_to_user=False)
    await one.close()
    frame = await tab.receive()
    assert (frame["event"], frame["data"]) == ("task.lost", {"task": task["id"]})
    assert frame["offset"], "durable"
    again = await client(site, user, **position)
    assert again.welcome["recovered"] is True
    assert (await again.receive())["event"] == "task.lost"
    assert ends_of(site, task["id"]) == ["lost"]
    back = await worker(site, pools=pool, worker_id=id)
    assert back.welcome["tasks"] == []
    answer = await back.ask(type="done", task=task["id"])
    assert answer["error"]["code"] == "task_lost", "its last breath"


async def test_a_silent_task_is_lost_and_its_worker_told(site: Gateway) -> None:
    one = await worker(site, pools="silent")
    task = await assigned(site, one, "silent", timeout=1)
    frame = await one.receive()
    assert frame == {"type": "task.cancel", "task": task["id"], "reason": "lost"}
    assert await until(lambda: ends_of(site, task["id"]), "the signal") == ["lost"]


async def test_a_cancel_reaches_the_worker(site: Gateway) -> None:
    tab, one = await client(site, "cancel"), await worker(site, pools="cancel")
    task = await assigned(site, one, "cancel", user_id="cancel")
    assert await call(site, "cancel_task", task_id=task["id"]) is True
    frame = await one.receive()
    assert frame == {"type": "task.cancel", "task": task["id"], "reason": "cancelled"}
    assert (await tab.receive())["event"] == "task.cancelled"
    assert await call(site, "cancel_task", task_id=task["id"]) is False
    answer = await one.ask(type="done", task=task["id"])
    assert answer["error"]["code"] == "task_lost"
    await assigned(site, one, "cancel")


async def test_a_worker_that_was_replaced_by_itself_keeps_its_tasks(site: Gateway) -> None:
    id, pool = new_id(), "replaced"
    old = await worker(site, pools=pool, worker_id=id)
    task = await assigned(site, old, pool)
    new = await worker(site, pools=pool, worker_id=id)
    assert new.welcome["tasks"] == [task["id"]]
    assert (await old.closed())[0] == 4503
    # Its grace, had it begun, is over when one that began later is.
    witness = await worker(site, pools="witness")
    other = await assigned(site, witness, "witness")
    await witness.close()
    await until(lambda: ends_of(site, other["id"]), "the witness' loss")
    assert ends_of(site, task["id"]) == []
    assert (await new.ask(type="done", task=task["id"]))["ok"]
    assert await until(lambda: ends_of(site, task["id"]), "the end") == ["done"]


async def test_hostile_frames_harm_nobody(site: Gateway) -> None:
    pool = "hostile"
    good = await worker(site, pools=pool)
    task = await assigned(site, good, pool)
    bad = await worker(site, pools="elsewhere", key="other-worker-secret")
    id = task["id"]
    for frame, code in [
        ({"type": "done", "task": id, "data": "stolen"}, "task_lost"),
        ({"type": "release", "task": id}, "task_lost"),
        ({"type": "failed", "task": id, "error": "x" * 1_000}, "task_lost"),
        ({"type": "failed", "task": id, "error": "x" * 30_000}, "bad_message"),
        ({"type": "progress", "task": id, "data": 1}, "task_lost"),
        ({"type": "accept", "task": id, "offer": "x"}, "task_lost"),
        ({"type": "reject", "task": id, "offer": "x"}, "task_lost"),
        ({"type": "accept", "task": new_id(), "offer": new_id()}, "task_lost"),
        ({"type": "done", "task": "한\x00"}, "task_lost"),
    ]:
        answer = await bad.ask(**frame)
        assert answer["error"]["code"] == code, frame
    assert ends_of(site, id) == []
    # The worker's own follies: it accepts twice, ends twice, changes its mind.
    asking = asyncio.create_task(call(site, "assign_task", pool="elsewhere", event="e"))
    offered = await bad.receive()
    accept = {"type": "accept", "task": offered["task"], "offer": offered["offer"]}
    assert (await bad.ask(type="done", task=offered["task"]))["error"]["code"] == "task_lost"
    assert (await bad.ask(**accept))["ok"]
    assert (await bad.ask(**accept))["error"]["code"] == "task_lost"
    assert (await asking)["state"] == "running"
    assert (await bad.ask(type="failed", task=offered["task"], error="no"))["ok"]
    assert (await bad.ask(type="failed", task=offered["task"], error="no"))["ok"]
    answer = await bad.ask(type="done", task=offered["task"])
    assert answer["error"]["code"] == "task_lost"
    # Frames that are JSON and no message: told, however many. Of those that are no JSON the socket
    # closes at last. No one else notices.
    wrong: list[dict[str, Any]] = [
        {"type": "done", "task": 5},
        {"type": "accept", "task": [id], "offer": {}},
    ]
    for frame in wrong * 20:
        answer = await bad.ask(**frame)
        assert answer["error"]["code"] == "bad_message"
    for _ in range(16):
        await bad.connection.send("{")
    assert (await bad.closed())[0] == 4500
    assert (await good.ask(type="done", task=id, data="mine"))["ok"]
    await until(lambda: ends_of(site, id), "the end")
    (end,) = [end for end in ends(site) if end["id"] == id]
    assert (end["state"], end["result"]) == ("done", "mine")


async def test_what_runs_at_sigterm_is_lost_and_django_code_hears_it(own_site: Gateway) -> None:
    one = await worker(own_site, pools="p", capacity="5")
    tasks = [await assigned(own_site, one, "p") for _ in range(5)]
    await one.ask(type="done", task=tasks[0]["id"])
    own_site.signal(signal.SIGTERM)
    assert (await one.receive())["code"] == 4000
    assert await asyncio.to_thread(own_site.wait) == 0
    expected = {task["id"]: "lost" for task in tasks} | {tasks[0]["id"]: "done"}
    told = ends(own_site)
    assert {end["id"]: end["state"] for end in told} == expected and len(told) == 5


async def test_a_gateway_in_memory_mode_that_was_killed_knows_no_tasks(
    own_site: Gateway,
) -> None:
    """And says so: nobody works on for nothing, nothing is found that is not there."""
    id = new_id()
    one = await worker(own_site, pools="p", worker_id=id)
    task = await assigned(own_site, one, "p")
    own_site.kill()
    await asyncio.to_thread(own_site.start)
    back = await worker(own_site, pools="p", worker_id=id)
    assert back.welcome["tasks"] == []
    answer = await back.ask(type="done", task=task["id"])
    assert answer["error"]["code"] == "task_lost"
    assert await call(own_site, "task", task_id=task["id"]) is None
    assert await call(own_site, "cancel_task", task_id=task["id"]) is False
    await assigned(own_site, back, "p")


async def test_synchronous_code_assigns_from_its_threads(site: Gateway) -> None:
    """As views, Celery tasks and signal receivers do."""
    one = await worker(site, pools="sync", capacity="3")
    asking = [
        asyncio.create_task(call(site, "assign_task?sync", pool="sync", event="e", data=n))
        for n in range(3)
    ]
    for _ in range(3):
        offered = await one.receive()
        await one.send(type="accept", task=offered["task"], offer=offered["offer"])
    tasks = await asyncio.gather(*asking)
    assert [task["state"] for task in tasks] == ["running"] * 3
    (load,) = [pool for pool in await call(site, "worker_pools?sync") if pool["pool"] == "sync"]
    assert load == {"pool": "sync", "workers": 1, "capacity": 3, "held": 3}
    assert await call(site, "cancel_task?sync", task_id=tasks[0]["id"]) is True


# --- many tasks, and workers that are killed


class Crew:
    """Worker processes by id, and the journal that they share."""

    def __init__(self, site: Gateway, seed: int) -> None:
        self._site = site
        self._random = random.Random(seed)
        self._journal = site.data_dir / "journal.jsonl"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kills = 0

    def start(self, id: str) -> None:
        url = self._site.worker_url(pools="p", capacity="4", worker_id=id, name="crew")
        self.processes[id] = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.acceptance.task_worker",
                url,
                WORKER_KEY,
                str(self._journal),
                str(self._random.getrandbits(32)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )

    def kill(self, id: str) -> None:
        """kill -9."""
        process = self.processes.pop(id)
        process.kill()
        process.wait()
        self.kills += 1

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(10)

    def busy(self) -> list[str]:
        """Who is in the midst of a task."""
        at_work: dict[int, set[str]] = {}
        for line in lines(self._journal):
            if line["what"] == "begin":
                at_work.setdefault(line["pid"], set()).add(line["task"])
            else:
                at_work.get(line["pid"], set()).discard(line["task"])
        return [id for id, process in self.processes.items() if at_work.get(process.pid)]

    def journal(self, what: str) -> list[dict[str, Any]]:
        return [line for line in lines(self._journal) if line["what"] == what]


@contextmanager
def crew(site: Gateway, seed: int) -> Iterator[Crew]:
    made = Crew(site, seed)
    with ExitStack() as stack:
        stack.callback(made.stop)
        yield made


@pytest.mark.timeout(300)
async def test_no_task_is_doubled_or_forgotten_while_workers_are_killed(
    hasty_site: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """protocol.md section 4: accept is a compare-and-set, and a task ends once, whatever dies."""
    site, count, seed = hasty_site, scaled(500, 60), random.getrandbits(32)
    dice = random.Random(seed)
    tasks: dict[str, dict[str, Any]] = {}
    refused = cancelled = 0

    async def assign(number: int) -> None:
        """As a backend does that keeps the job: again, until somebody takes it."""
        nonlocal refused, cancelled
        while True:
            task = await call(site, "assign_task", pool="p", event="e", data=number, user_id="u")
            if "state" in task:
                break
            assert task["error"] == "NoWorkerAvailable", task
            refused += 1
            await asyncio.sleep(0.1)
        assert task["id"] not in tasks
        tasks[task["id"]] = task
        if dice.random() < 0.05 and await call(site, "cancel_task", task_id=task["id"]):
            cancelled += 1

    async def kill_often(team: Crew, ids: list[str]) -> None:
        """Half of the killed return within their grace, the others when it is over."""
        for number in range(kills):
            for _ in range(count // kills):
                may_start.release()
            id = dice.choice(await until(team.busy, "somebody to have a task"))
            await asyncio.to_thread(team.kill, id)
            if number % 2:
                await asyncio.sleep(1.5 * RETURN)
            team.start(id)

    kills = count // 10
    may_start = asyncio.Semaphore(count % kills)
    backends = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        await may_start.acquire()
        async with backends:
            await assign(number)

    with crew(site, seed) as team:
        ids = [new_id() for _ in range(3)]
        for id in ids:
            team.start(id)
        await until(lambda: len(team.journal("welcome")) == 3, "the workers to come")
        async with asyncio.timeout(240):
            await asyncio.gather(kill_often(team, ids), *[one(number) for number in range(count)])
        await until(lambda: len(ends(site)) >= count, "every task to end", 60)
        pools = await call(site, "worker_pools")
    told = ends(site)
    states = Counter(end["state"] for end in told)
    begun = Counter(line["task"] for line in team.journal("begin"))
    twice_ended = [id for id, n in Counter(end["id"] for end in told).items() if n > 1]
    twice_begun = [id for id, n in begun.items() if n > 1]
    doubled = len(set(twice_ended + twice_begun))
    kept = {id for line in team.journal("welcome") for id in line["held"]}
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{count} tasks over 3 workers, {team.kills} times kill -9 (seed {seed}): "
            f"done {states['done']}, failed {states['failed']}, released {states['released']}, "
            f"cancelled {states['cancelled']}, lost {states['lost']}, doubled {doubled}; "
            f"kept over a kill {len(kept)}, refused for want of a worker {refused}"
        )
    assert doubled == 0, (twice_ended, twice_begun)
    assert {end["id"] for end in told} == set(tasks), "every task ended, and no other"
    assert sum(states.values()) == count == len(tasks)
    assert states["cancelled"] == cancelled
    assert set(begun) <= set(tasks), "what ran was somebody's"
    final = {end["id"]: end["state"] for end in told}
    for line in team.journal("ended"):
        assert final[line["task"]] == line["kind"].replace("release", "released")
    for line in team.journal("lost"):
        assert final[line["task"]] in ("lost", "cancelled"), line
    for id, state in final.items():
        found = await call(site, "task", task_id=id)
        assert found["state"] == state
    assert all(pool["held"] == 0 for pool in pools)
    assert team.kills == kills
    assert states["lost"] and states["done"] and kept, "else the test did not test it"
