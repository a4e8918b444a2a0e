"""The worker: what it tells, and what becomes of its jobs when it has to go."""

from __future__ import annotations

import asyncio
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.image_converter import worker as worker_module
from examples.image_converter.jobs import Job, JobFolder
from examples.image_converter.link import Rejected
from examples.image_converter.worker import Worker, convert_job, main
from tests.unit.examples.conftest import NOW, AddJob


class RememberingLink:
    """A link whose gateway is always there; keeps what was posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, dict[str, Any], str | None]] = []
        self.online = asyncio.Event()
        self.online.set()
        self.idle = asyncio.Event()
        self.idle.set()
        self.error: Exception | None = None

    def post(self, user: str, event: str, data: Any, *, collapse_key: str | None = None) -> None:
        self.posted.append((user, event, data, collapse_key))

    async def run(self) -> None:
        if self.error:
            raise self.error
        await asyncio.Event().wait()


def run_one(jobs: JobFolder, cancelled: threading.Event | None = None) -> list[tuple[str, Job]]:
    claim = jobs.claim(NOW)
    assert claim is not None
    told: list[tuple[str, Job]] = []
    convert_job(claim, lambda event, job: told.append((event, job)), cancelled or threading.Event())
    return told


def test_it_tells_every_step_and_the_end(
    jobs: JobFolder, add: AddJob, noise: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "REPORT_EVERY", 0.0)
    add(noise)
    told = run_one(jobs)
    assert list(dict.fromkeys(job.step for event, job in told if event == "job.progress")) == [
        "reading", "converting", "writing"
    ]  # fmt: skip
    event, done = told[-1]
    assert (event, done.state) == ("job.done", "done")
    assert (done.source_format, done.width, done.height) == ("PNG", 1000, 1000)
    revisions = [job.rev for _, job in told]
    assert revisions == sorted(set(revisions))
    found = jobs.result(done.id, "kim")
    assert found is not None
    with Image.open(BytesIO(found[1].read_bytes())) as made:
        assert made.format == "WEBP"
    assert done.result_bytes == found[1].stat().st_size


def test_within_a_step_it_is_not_chatty(jobs: JobFolder, add: AddJob, noise: bytes) -> None:
    add(noise)
    assert len(run_one(jobs)) < 20


def test_a_broken_image_is_a_clear_failure(jobs: JobFolder, add: AddJob) -> None:
    add(b"no image at all")
    event, job = run_one(jobs)[-1]
    assert (event, job.state) == ("job.failed", "failed")
    assert "text file" in job.error
    assert jobs.jobs_of("kim") == [job]


def test_cancelled_it_hands_the_job_back(jobs: JobFolder, add: AddJob, noise: bytes) -> None:
    add(noise)
    cancelled = threading.Event()
    cancelled.set()
    event, job = run_one(jobs, cancelled)[-1]
    assert (event, job.state) == ("job.queued", "queued")
    assert jobs.claim(NOW) is not None


def test_a_job_that_was_taken_away_is_dropped(jobs: JobFolder, add: AddJob, noise: bytes) -> None:
    add(noise)
    claim = jobs.claim(NOW)
    assert claim is not None
    told: list[str] = []

    def tell(event: str, job: Job) -> None:
        told.append(event)
        if len(told) == 1:
            jobs.revive(NOW + 3600)
            assert jobs.claim(NOW) is not None

    convert_job(claim, tell, threading.Event())
    assert told == ["job.progress"]
    assert [job.attempts for job in jobs.jobs_of("kim")] == [2]


def test_a_full_disk_is_not_the_visitor_s_fault(
    jobs: JobFolder, add: AddJob, noise: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    add(noise)
    monkeypatch.setattr(worker_module.convert, "convert", full)
    event, job = run_one(jobs)[-1]
    assert event == "job.failed"
    assert "No space left" in job.error


async def until_state(jobs: JobFolder, state: str, count: int) -> None:
    async with asyncio.timeout(20):
        # A folder has no event to wait for.
        while sum(job.state == state for job in jobs.jobs_of("kim")) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_it_works_until_it_is_stopped(
    jobs: JobFolder, add: AddJob, monkeypatch: pytest.MonkeyPatch, noise: bytes
) -> None:
    monkeypatch.setattr(worker_module, "POLL", 0.01)
    link = RememberingLink()
    worker = Worker(jobs, link, capacity=2, grace=5)  # type: ignore[arg-type]
    running = asyncio.create_task(worker.run())
    for _ in range(4):
        add(noise)
    await until_state(jobs, "done", 4)
    worker.stop()
    async with asyncio.timeout(10):
        await running
    done = [(user, key) for user, event, _, key in link.posted if event == "job.done"]
    assert sorted(done) == [("kim", f"job:{job.id}") for job in reversed(jobs.jobs_of("kim"))]


async def test_stopped_it_takes_no_new_job_and_hands_back_the_slow_one(
    jobs: JobFolder, add: AddJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "POLL", 0.01)

    def endless(source: Path, result: Path, format: object, report: Any) -> None:
        while True:  # `report` raises when it is time to go
            report(worker_module.convert.Progress("reading", 1))
            threading.Event().wait(0.01)

    monkeypatch.setattr(worker_module.convert, "convert", endless)
    add()
    worker = Worker(jobs, RememberingLink(), capacity=1, grace=0.1)  # type: ignore[arg-type]
    running = asyncio.create_task(worker.run())
    await until_state(jobs, "working", 1)
    add()
    worker.stop()
    async with asyncio.timeout(10):
        await running
    assert [job.state for job in jobs.jobs_of("kim")] == ["queued", "queued"]


async def test_rejected_it_ends(jobs: JobFolder) -> None:
    link = RememberingLink()
    link.error = Rejected("wrong key")
    with pytest.raises(Rejected):
        async with asyncio.timeout(10):
            await Worker(jobs, link, capacity=1, grace=1).run()  # type: ignore[arg-type]


def test_without_a_key_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WORKER_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "WORKER_KEY is not set" in capsys.readouterr().err


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for word in ("WORKER_KEY", "--url", "--data", "--capacity", "SIGTERM", "kill -9"):
        assert word in said
