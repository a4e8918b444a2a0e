"""Jobs to workers and back, against a gateway that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from django.core.handlers.asgi import ASGIHandler

from examples.image_converter import assigner as module
from examples.image_converter import desk as desk_module
from examples.image_converter.assigner import POOL, Assigner, remove
from examples.image_converter.desk import Desk
from examples.image_converter.jobs import KEEP, Jobs
from examples.image_converter.records import Job
from sockets.exceptions import GatewayUnavailable, GatewayUnreachable, NoWorkerAvailable
from sockets.types import PoolLoad, Task, TaskState
from tests.support.doubles import until
from tests.support.patience import PATIENCE
from tests.unit.examples.conftest import MADE, NOW, AddJob, make_files


class ScriptedGateway:
    """`free`: how many tasks somebody takes; `told`: what users and everybody heard."""

    def __init__(self) -> None:
        self.free = 0
        self.tasks: dict[str, Task] = {}
        self.orders: list[dict[str, Any]] = []
        self.told: list[tuple[str, str, Any]] = []
        self.cancelled: list[str] = []
        self.meanwhile: Callable[[Task], Awaitable[None]] | None = None
        self.error: Exception | None = None
        self.pools: list[PoolLoad] = []

    async def assign(self, pool: str, event: str, data: Any, **options: Any) -> Task:
        if self.error:
            raise self.error
        if not self.free:
            raise NoWorkerAvailable(pool, [])
        self.free -= 1
        self.orders.append({"pool": pool, **data, **options})
        task = Task(
            id=f"T{len(self.tasks)}", pool=pool, event=event, node="n", timeout=1, created=NOW,
            user=options["user_id"], state=TaskState.RUNNING, worker="key/W",
        )  # fmt: skip
        self.tasks[task.id] = task
        if self.meanwhile:
            await self.meanwhile(task)
        return task

    async def cancel(self, task_id: str) -> bool:
        self.cancelled.append(task_id)
        return True

    async def task(self, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    async def notify(self, user: str, event: str, data: Any, *, collapse_key: str) -> None:
        assert collapse_key == f"job:{data['id']}"
        self.told.append((user, event, data))

    async def broadcast(self, event: str, data: Any) -> None:
        self.told.append(("*", event, data))

    async def worker_pools(self) -> list[PoolLoad]:
        if isinstance(self.error, GatewayUnreachable):
            raise self.error
        return self.pools

    def end(self, task_id: str, state: TaskState, **members: Any) -> Task:
        self.tasks[task_id] = replace(self.tasks[task_id], state=state, **members)
        return self.tasks[task_id]

    def heard(self, user: str) -> list[str]:
        return [event for who, event, _ in self.told if who == user]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> ScriptedGateway:
    scripted = ScriptedGateway()
    monkeypatch.setattr(desk_module, "anotify_user", scripted.notify)
    for name, double in {
        "aassign_task": scripted.assign,
        "acancel_task": scripted.cancel,
        "atask": scripted.task,
        "abroadcast": scripted.broadcast,
        "aworker_pools": scripted.worker_pools,
    }.items():
        monkeypatch.setattr(module, name, double)
    return scripted


@pytest.fixture
def assigner(jobs: Jobs, gateway: ScriptedGateway) -> Assigner:
    return Assigner(Desk(jobs))


def states(jobs: Jobs) -> list[str]:
    """Oldest first."""
    return [job.state for job in reversed(jobs.all())]


def only(jobs: Jobs) -> Job:
    (job,) = jobs.all()
    return job


async def test_as_many_as_are_free(
    assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob
) -> None:
    for _ in range(3):
        add()
    gateway.free = 2
    await assigner.round(NOW)
    assert states(jobs) == ["working", "working", "queued"]
    first = gateway.orders[0]
    assert (first["pool"], first["user_id"], first["timeout"]) == (POOL, "kim", 60)
    assert first["job"] == jobs.all()[-1].id
    assert gateway.heard("kim") == ["job.working", "job.working"]
    gateway.free = 1
    await assigner.round(NOW)
    assert states(jobs) == ["working"] * 3


@pytest.mark.parametrize("error", [GatewayUnavailable("away"), None])
async def test_nobody_there_is_a_state_and_no_error(
    assigner: Assigner,
    gateway: ScriptedGateway,
    jobs: Jobs,
    add: AddJob,
    error: Exception | None,
) -> None:
    add()
    gateway.error = error
    await assigner.round(NOW)
    assert states(jobs) == ["queued"]


async def test_done(assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob) -> None:
    add()
    gateway.free = 1
    await assigner.round(NOW)
    make_files(jobs, only(jobs))
    await assigner.ended(gateway.end("T0", TaskState.DONE, result=msgspec.to_builtins(MADE)))
    assert states(jobs) == ["done"]
    user, event, data = gateway.told[-1]
    assert (user, event) == ("kim", "job.done")
    assert data == only(jobs).view()


@pytest.mark.parametrize(
    ("state", "members", "expected"),
    [
        (TaskState.FAILED, {"error": "no image"}, ("failed", "", "no image")),
        (TaskState.LOST, {}, ("queued", "lost", "")),
        (TaskState.RELEASED, {}, ("queued", "released", "")),
        (TaskState.CANCELLED, {}, ("cancelled", "", "")),  # by an operator
        (TaskState.DONE, {"result": {"width": "wide"}}, ("queued", "released", "")),
        (TaskState.DONE, {"result": None}, ("queued", "released", "")),
    ],
)
async def test_every_other_end(
    assigner: Assigner,
    gateway: ScriptedGateway,
    jobs: Jobs,
    add: AddJob,
    state: TaskState,
    members: dict[str, Any],
    expected: tuple[str, str, str],
) -> None:
    add()
    gateway.free = 1
    await assigner.round(NOW)
    await assigner.ended(gateway.end("T0", state, **members))
    job = only(jobs)
    assert (job.state, job.setback, job.error) == expected
    assert gateway.heard("kim")[-1] == f"job.{job.state}"


async def test_a_task_that_ends_before_its_job_knows_it(
    assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob
) -> None:
    add()
    gateway.free = 1
    ended: list[asyncio.Task[None]] = []

    async def at_once(task: Task) -> None:
        failed = gateway.end(task.id, TaskState.FAILED, error="quick")
        ended.append(asyncio.create_task(assigner.ended(failed)))
        # It has found no job of its task, and lets whoever assigns go on first.
        await until(lambda: assigner._assigning._waiters)

    gateway.meanwhile = at_once
    await assigner.round(NOW)
    await ended[0]
    assert only(jobs).error == "quick"
    assert gateway.heard("kim") == ["job.working", "job.failed"]


async def test_cancelled_while_a_worker_was_found(
    assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob
) -> None:
    job = add()
    gateway.free = 1

    async def cancel(task: Task) -> None:
        jobs.cancel(job.id, "kim")

    gateway.meanwhile = cancel
    await assigner.round(NOW)
    assert gateway.cancelled == ["T0"]
    assert states(jobs) == ["cancelled"]


async def test_what_the_signals_did_not_tell(
    assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob
) -> None:
    """After a kill -9 of the gateway: one task is unknown, one has ended, one goes on."""
    for _ in range(3):
        add()
    gateway.free = 3
    await assigner.round(NOW)
    del gateway.tasks["T0"]
    gateway.end("T1", TaskState.FAILED, error="no image")
    await Assigner(Desk(jobs)).round(NOW)
    assert states(jobs) == ["queued", "failed", "working"]
    assert jobs.all()[-1].setback == "lost"


async def test_what_is_over_is_deleted_and_its_work_stopped(
    assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob
) -> None:
    add()
    gateway.free = 1
    await assigner.round(NOW)
    await assigner.round(NOW + KEEP)
    assert jobs.all() == []
    assert not [path for path in jobs.root.rglob("*") if path.is_file()]
    assert gateway.cancelled == ["T0"]
    assert gateway.heard("kim")[-1] == "job.removed"


async def test_only_the_owner_removes(
    assigner: Assigner, gateway: ScriptedGateway, jobs: Jobs, add: AddJob
) -> None:
    job = add()
    assert await remove(Desk(jobs), job.id, "lee") is None
    assert jobs.all() == [job]


async def test_everybody_hears_of_workers_that_come_and_go(
    assigner: Assigner, gateway: ScriptedGateway
) -> None:
    other = PoolLoad("video", 9, 9, 0)
    for pools in ([], [PoolLoad(POOL, 2, 5, 1), other], [PoolLoad(POOL, 2, 5, 4)], [other]):
        gateway.pools = pools
        await assigner.round(NOW)
    assert [data for _, event, data in gateway.told if event == "demo.workers"] == [
        {"workers": 0, "capacity": 0},
        {"workers": 2, "capacity": 5},
        {"workers": 0, "capacity": 0},
    ]


async def test_it_ends_with_the_gateway_and_survives_everything_else(
    assigner: Assigner,
    gateway: ScriptedGateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = 0

    async def broken(now: float) -> None:
        nonlocal rounds
        rounds += 1
        assigner.wake()
        raise ValueError("on purpose") if rounds < 3 else GatewayUnreachable

    monkeypatch.setattr(assigner, "round", broken)
    async with asyncio.timeout(PATIENCE):
        await assigner.run()
    assert rounds == 3
    assert "on purpose" in caplog.text


async def test_the_process_s_own(
    jobs: Jobs, gateway: ScriptedGateway, add: AddJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_current", None)
    monkeypatch.setattr(module, "_task", None)
    monkeypatch.setattr(module, "desk", lambda: Desk(jobs))
    await module.start(object)
    none = module._task
    assert none is None, "a test client's request is no server's"
    add()
    gateway.free = 1

    class Handler(ASGIHandler):
        pass

    await module.start(Handler)
    task = module._task
    await module.start(Handler)
    assert module._task is task
    assert task is not None
    async with asyncio.timeout(PATIENCE):
        while not gateway.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    failed = gateway.end("T0", TaskState.FAILED, error="no image")
    await asyncio.to_thread(module.task_ended, None, replace(failed, pool="video"))
    assert states(jobs) == ["working"], "another pool's task is none of ours"
    await asyncio.to_thread(module.task_ended, None, failed)
    assert states(jobs) == ["failed"], "known when the receiver returns"
    gateway.error = GatewayUnreachable()
    module.wake()
    async with asyncio.timeout(PATIENCE):
        await task
