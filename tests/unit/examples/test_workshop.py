"""The worker's hands: what they take, what they tell, how they stop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.image_converter import convert as convert_module
from examples.image_converter import worker as worker_module
from examples.image_converter import workshop as module
from examples.image_converter.jobs import Jobs
from examples.image_converter.link import Frame, Rejected
from examples.image_converter.worker import main
from examples.image_converter.workshop import Workshop
from tests.unit.examples.conftest import AddJob


class RememberingLink:
    """A line that is always there; `error` ends it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.outcomes: dict[str, tuple[str, dict[str, Any]]] = {}
        self.changed = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self.error: Exception | None = None
        self.online = True

    async def run(self, hands: object) -> None:
        if self.error:
            raise self.error
        await asyncio.Event().wait()

    async def progress(self, task: str, data: Any) -> None:
        self.told.append((task, data))
        self.changed.set()

    async def ended(self, task: str, outcome: str, **members: Any) -> None:
        self.outcomes.setdefault(task, (outcome, members))
        self.changed.set()

    async def until_told(self, count: int = 1) -> None:
        async with asyncio.timeout(20):
            while len(self.told) < count:
                self.changed.clear()
                await self.changed.wait()

    async def outcome(self, task: str) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(20):
            while task not in self.outcomes:
                self.changed.clear()
                await self.changed.wait()
        return self.outcomes[task]


@pytest.fixture
async def link() -> RememberingLink:
    return RememberingLink()


@pytest.fixture
async def shop(jobs: Jobs, link: RememberingLink) -> Workshop:
    return Workshop(jobs.root, link, name="w1", capacity=2, grace=5)  # type: ignore[arg-type]


def offer(task: str, order: dict[str, Any]) -> Frame:
    return {"type": "task", "task": task, "offer": f"offer-{task}", "data": order}


def begin(shop: Workshop, task: str, order: dict[str, Any]) -> None:
    frame = offer(task, order)
    assert shop.takes(frame)
    shop.start(frame)


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
    jobs: Jobs, add: AddJob, noise: bytes, shop: Workshop, link: RememberingLink
) -> None:
    job = add(noise)
    begin(shop, "T1", job.order())
    outcome, members = await link.outcome("T1")
    assert (outcome, members["data"]["width"], members["data"]["worker"]) == ("done", 1000, "w1")
    started = jobs.started(job.id, "T1")
    assert started is not None
    with Image.open(jobs.result(started)) as made:
        assert (made.format, made.size) == ("WEBP", (1000, 1000))
    assert jobs.thumbnail(started).exists()
    assert {task for task, _ in link.told} == {"T1"}
    reports = [data for _, data in link.told]
    assert list(dict.fromkeys(report["step"] for report in reports)) == [
        "decode", "resize", "encode"
    ]  # fmt: skip
    assert {report["job"] for report in reports} == {job.id}
    assert [report["thumbnail"] for report in reports if report["step"] == "decode"][-1] is False
    assert reports[-1]["thumbnail"] is True


@pytest.mark.parametrize(
    ("order", "outcome", "says"),
    [
        ({}, "failed", "text file"),
        ({"job": "gone"}, "failed", "no longer available"),
        ({"format": "exe"}, "release", "can’t save exe"),
        ({"side": "wide"}, "release", "problem"),
    ],
)
async def test_what_cannot_be_converted(
    add: AddJob,
    shop: Workshop,
    link: RememberingLink,
    order: dict[str, Any],
    outcome: str,
    says: str,
) -> None:
    begin(shop, "T1", {**add(b"Dear reader").order(), **order})
    said, members = await link.outcome("T1")
    assert said == outcome
    assert says in members["error"]


async def test_each_task_is_answered_in_its_own_language(
    add: AddJob, shop: Workshop, link: RememberingLink
) -> None:
    order = add(b"Dear reader").order()
    for task, language in (("T1", "ko"), ("T2", "en")):
        begin(shop, task, {**order, "language": language})
    for task, text in (("T1", "이미지가 아니라"), ("T2", "This is a text file")):
        outcome, members = await link.outcome(task)
        assert (outcome, members["error"].startswith(text)) == ("failed", True)
    del order["language"]  # of a gateway of before
    begin(shop, "T3", order)
    assert (await link.outcome("T3"))[1]["error"].startswith("This is a text file")


async def test_a_full_disk_is_not_the_visitor_s_fault(
    add: AddJob, shop: Workshop, link: RememberingLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert_module, "convert", full)
    begin(shop, "T1", add().order())
    outcome, members = await link.outcome("T1")
    assert outcome == "release"
    assert "No space left" in members["error"]


async def test_it_takes_as_many_as_it_can(
    add: AddJob, shop: Workshop, link: RememberingLink, endless: None
) -> None:
    order = add().order()
    assert shop.takes(offer("T1", order))
    assert shop.takes(offer("T2", order))
    assert not shop.takes(offer("T3", order)), "accepted counts, confirmed or not"
    shop.dropped(offer("T1", order))
    shop.start(offer("T2", order))
    assert shop.takes(offer("T4", order))
    assert not shop.takes(offer("T5", order))
    shop.stop_task("T2", "cancelled")
    async with asyncio.timeout(10):
        while not shop.takes(offer("T6", order)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_cancelled_it_stops_within_a_step_and_says_nothing(
    jobs: Jobs, add: AddJob, shop: Workshop, link: RememberingLink, endless: None
) -> None:
    job = add()
    begin(shop, "T1", job.order())
    await link.until_told()
    (working,) = shop._tasks
    shop.stop_task("unknown", "cancelled")
    shop.stop_task("T1", "cancelled")
    async with asyncio.timeout(10):
        await working
    assert link.outcomes == {}
    assert not list((jobs.root / "jobs" / job.id).glob("result.*"))


async def test_a_long_step_shows_signs_of_life(
    add: AddJob, shop: Workshop, link: RememberingLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_EVERY", 0.01)
    done = threading.Event()

    def silent(source: Path, result: Path, thumbnail: Path, wish: object, report: Any) -> None:
        report(convert_module.Progress("encode", None, 7))
        done.wait(20)
        raise convert_module.Unconvertible("enough")

    monkeypatch.setattr(convert_module, "convert", silent)
    begin(shop, "T1", add().order())
    await link.until_told(3)
    done.set()
    await link.outcome("T1")
    assert {data["written"] for _, data in link.told} == {7}


async def test_stopped_it_takes_nothing_new_and_finishes(
    add: AddJob, noise: bytes, shop: Workshop, link: RememberingLink
) -> None:
    running = asyncio.create_task(shop.run())
    begin(shop, "T1", add(noise).order())
    shop.stop()
    assert not shop.takes(offer("T2", {}))
    async with asyncio.timeout(10):
        await running
    assert link.outcomes["T1"][0] == "done"


@pytest.mark.parametrize("hurry", [False, True])
async def test_stopped_it_hands_back_what_takes_too_long(
    jobs: Jobs, add: AddJob, link: RememberingLink, endless: None, hurry: bool
) -> None:
    shop = Workshop(
        jobs.root,
        link,  # type: ignore[arg-type]
        name="w1",
        capacity=1,
        grace=60 if hurry else 0.1,
    )
    running = asyncio.create_task(shop.run())
    await asyncio.sleep(0)
    begin(shop, "T1", add().order())
    await link.until_told()
    shop.stop()
    if hurry:
        shop.stop()
    async with asyncio.timeout(10):
        await running
    assert link.outcomes == {"T1": ("release", {})}


async def test_what_is_confirmed_at_the_last_moment_is_not_forgotten(
    add: AddJob, noise: bytes, shop: Workshop, link: RememberingLink
) -> None:
    frame = offer("T1", add(noise).order())
    assert shop.takes(frame)
    shop.stop()
    running = asyncio.create_task(shop.run())
    await asyncio.sleep(0.05)
    shop.start(frame)
    async with asyncio.timeout(10):
        await running
    assert link.outcomes["T1"][0] == "done"


@pytest.mark.parametrize("online", [True, False])
async def test_the_last_words_are_waited_for_if_somebody_hears_them(
    shop: Workshop, link: RememberingLink, monkeypatch: pytest.MonkeyPatch, online: bool
) -> None:
    monkeypatch.setattr(module, "FLUSH", 60 if not online else 0.1)
    link.online = online
    link.idle.clear()
    shop.stop()
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        await shop.run()
    assert (asyncio.get_running_loop().time() - began >= 0.1) == online


async def test_rejected_it_ends(shop: Workshop, link: RememberingLink) -> None:
    link.error = Rejected("wrong key")
    with pytest.raises(Rejected):
        async with asyncio.timeout(10):
            await shop.run()


def test_without_a_key_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WORKER_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "WORKER_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--capacity=0", "--grace=-1"])
def test_odd_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    monkeypatch.setenv("WORKER_KEY", "k")
    with pytest.raises(SystemExit) as ended:
        main([argument])
    assert ended.value.code == 2


def test_rejected_the_command_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def rejected(*_: object) -> None:
        raise Rejected("the gateway closed with 4501")

    monkeypatch.setenv("WORKER_KEY", "k")
    monkeypatch.setattr(worker_module, "_main", rejected)
    assert main([]) == 1
    assert "4501; check WORKER_KEY and --url" in capsys.readouterr().err


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for word in ("WORKER_KEY", "--url", "--data", "--capacity", "SIGTERM", "kill -9"):
        assert word in said
