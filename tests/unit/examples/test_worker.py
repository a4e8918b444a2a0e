"""The worker's function: what it makes, what it tells, how it ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.image_converter import convert as convert_module
from examples.image_converter import worker as module
from examples.image_converter.jobs import Jobs
from gateway_client import HandBack, TaskFailed, TaskStopped
from gateway_client.frames import Frame
from gateway_client.running import Task, run, stop
from tests.support.patience import PATIENCE
from tests.unit.examples.conftest import AddJob

MakeTask = Callable[..., Task]


class Told(list[dict[str, Any]]):
    """What the page hears; `first` is set with the first of it."""

    def __init__(self) -> None:
        self.first = threading.Event()

    def hear(self, data: bytes) -> None:
        self.append(json.loads(data))
        self.first.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def task(jobs: Jobs, told: Told, monkeypatch: pytest.MonkeyPatch) -> MakeTask:
    monkeypatch.setenv("DATA_DIR", str(jobs.root.parent))
    monkeypatch.setattr(module.worker, "name", "w1")

    def made(order: dict[str, Any], id: str = "T1") -> Task:
        return Task(Frame("task", task=id, pool=module.POOL, data=order), told.hear)

    return made


async def done(task: Task) -> Any:
    """Its result, from a thread as in a worker."""
    return json.loads(await run("thread", module.make, task))


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that goes on until `report` raises."""

    def convert(source: Path, result: Path, thumbnail: Path, wish: object, report: Any) -> None:
        result.write_bytes(b"half")
        while True:
            report(convert_module.Progress("decode", 1))
            threading.Event().wait(0.01)

    monkeypatch.setattr(convert_module, "convert", convert)


async def test_it_converts_and_tells(
    jobs: Jobs, add: AddJob, noise: bytes, task: MakeTask, told: Told
) -> None:
    job = add(noise)
    made = await done(task(job.order()))
    assert (made["width"], made["worker"]) == (1000, "w1")
    started = jobs.started(job.id, "T1")
    assert started is not None
    with Image.open(jobs.result(started)) as image:
        assert (image.format, image.size) == ("WEBP", (1000, 1000))
    assert jobs.thumbnail(started).exists()
    assert list(dict.fromkeys(report["step"] for report in told)) == ["decode", "resize", "encode"]
    assert {report["job"] for report in told} == {job.id}
    assert [report["thumbnail"] for report in told if report["step"] == "decode"][-1] is False
    assert told[-1]["thumbnail"] is True


@pytest.mark.parametrize(
    ("order", "kind", "says"),
    [
        ({}, TaskFailed, "text file"),
        ({"job": "gone"}, TaskFailed, "no longer available"),
        ({"format": "exe"}, HandBack, "can’t save exe"),
        ({"side": "wide"}, HandBack, "problem"),
    ],
)
async def test_what_cannot_be_converted(
    add: AddJob, task: MakeTask, order: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        await done(task({**add(b"Dear reader").order(), **order}))


async def test_each_task_is_answered_in_its_own_language(add: AddJob, task: MakeTask) -> None:
    order = add(b"Dear reader").order()
    asked = [done(task({**order, "language": one}, one)) for one in ("ko", "en")]
    korean, english = await asyncio.gather(*asked, return_exceptions=True)
    assert str(korean).startswith("이미지가 아니라")
    assert str(english).startswith("This is a text file")
    del order["language"]  # of a gateway of before
    with pytest.raises(TaskFailed, match="This is a text file"):
        await done(task(order))


async def test_a_full_disk_is_not_the_visitor_s_fault(
    add: AddJob, task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert_module, "convert", full)
    with pytest.raises(HandBack, match="No space left"):
        await done(task(add().order()))


async def test_stopped_it_ends_within_a_step_and_leaves_nothing(
    jobs: Jobs, add: AddJob, task: MakeTask, told: Told, endless: None
) -> None:
    job = add()
    one = task(job.order())
    working = asyncio.ensure_future(done(one))
    await asyncio.to_thread(told.first.wait, 20)
    stop(one)
    with pytest.raises(TaskStopped):
        await asyncio.wait_for(working, PATIENCE)
    assert not list((jobs.root / "jobs" / job.id).glob("result.*"))


async def test_a_long_step_shows_signs_of_life(
    add: AddJob, task: MakeTask, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_EVERY", 0.01)
    enough = threading.Event()

    def silent(source: Path, result: Path, thumbnail: Path, wish: object, report: Any) -> None:
        report(convert_module.Progress("encode", None, 7))
        enough.wait(20)
        raise convert_module.Unconvertible("enough")

    monkeypatch.setattr(convert_module, "convert", silent)
    working = asyncio.ensure_future(done(task(add().order())))
    async with asyncio.timeout(PATIENCE):
        while len(told) < 3:  # noqa: ASYNC110 - it is told in a thread
            await asyncio.sleep(0.01)
    enough.set()
    with suppress(TaskFailed):
        await working
    assert {report["written"] for report in told} == {7}
