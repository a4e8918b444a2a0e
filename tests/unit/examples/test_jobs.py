"""The folder of jobs: each step, what it leaves on the disk, and who may do it."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import msgspec
import pytest

from examples.image_converter.convert import Wish
from examples.image_converter.jobs import (
    ABANDONED_UPLOAD,
    KEEP,
    MAX_ATTEMPTS,
    Jobs,
    Limits,
    Refused,
)
from examples.image_converter.records import Job, Order
from tests.unit.examples.conftest import MADE, NOW, AddJob, make_files


def files(jobs: Jobs) -> set[str]:
    """Every file below the root, without the jobs' ids."""
    return {path.name for path in jobs.root.rglob("*") if path.is_file()}


def start(jobs: Jobs, job: Job, task: str = "T1") -> Job:
    started = jobs.started(job.id, task)
    assert started is not None
    return started


def test_an_upload_is_no_job_before_it_is_queued(jobs: Jobs) -> None:
    received = jobs.receive(
        BytesIO(b"12345"), user="kim", name="a.png", wish=Wish("webp", 100, 70), now=NOW, ref="r"
    )
    assert jobs.all() == []
    job = jobs.queue(received)
    assert jobs.of("kim") == [job]
    assert jobs.of("lee") == []
    assert (job.state, job.source_bytes, job.ref, job.rev) == ("queued", 5, "r", 1)
    assert msgspec.convert(job.order(), Order) == Order(
        job=job.id, format="webp", side=100, quality=70
    )
    assert (jobs.root / "jobs" / job.id / "source").read_bytes() == b"12345"


def test_a_view_hides_what_is_internal(add: AddJob) -> None:
    view = add().view()
    assert {"user", "attempts"} & set(view) == set()
    assert {"id", "rev", "state", "task", "retryable", "setback", "error"} <= set(view)


@pytest.mark.parametrize(("content", "code"), [(b"", "empty"), (b"x" * 11, "too_large")])
def test_what_is_refused_leaves_nothing(tmp_path: Path, content: bytes, code: str) -> None:
    jobs = Jobs(tmp_path, Limits(upload=10))
    with pytest.raises(Refused) as refused:
        jobs.receive(BytesIO(content), user="kim", name="n", wish=Wish("webp"), now=NOW)
    assert refused.value.code == code
    assert files(jobs) == set()


@pytest.mark.parametrize(
    ("limits", "user", "code"),
    [
        (Limits(per_user=2), "kim", "too_many"),
        (Limits(total=2), "lee", "full"),
        (Limits(bytes=10), "lee", "full"),
    ],
)
def test_there_is_room_for_so_many(
    jobs: Jobs, add: AddJob, limits: Limits, user: str, code: str
) -> None:
    for _ in range(2):
        jobs.limits = limits
        add()
    with pytest.raises(Refused) as refused:
        add(user=user)
    assert refused.value.code == code
    if code == "too_many":
        add(user="lee")


def test_uploads_that_come_at_the_same_time_share_the_room(jobs: Jobs) -> None:
    jobs.limits = Limits(per_user=1)
    both = [
        jobs.receive(BytesIO(b"image"), user="kim", name="n", wish=Wish("webp"), now=NOW)
        for _ in range(2)
    ]
    jobs.queue(both[0])
    with pytest.raises(Refused) as refused:
        jobs.queue(both[1])
    assert refused.value.code == "too_many"
    assert [job.id for job in jobs.all()] == [both[0].id]
    assert list((jobs.root / "incoming").iterdir()) == [], "the upload is gone"


def test_a_result_that_there_is_no_room_for(jobs: Jobs, add: AddJob) -> None:
    """A few kilobytes of one colour become 150 MB of BMP."""
    jobs.limits = Limits(bytes=20)
    fits, too_much = start(jobs, add(), "T1"), start(jobs, add(), "T2")
    make_files(jobs, fits, b"x" * 10)
    made = jobs.done("T1", MADE)
    assert made is not None and made.state == "done"
    make_files(jobs, too_much, b"x")
    refused = jobs.done("T2", MADE)
    assert refused is not None
    assert (refused.state, refused.retryable, refused.result_bytes) == ("failed", True, 0)
    assert "full" in refused.error
    assert {path.name for path in (jobs.root / "jobs" / refused.id).iterdir()} == {
        "job.json",
        "source",
    }
    jobs.remove(fits.id, "kim")
    again = jobs.retry(refused.id, "kim")
    assert again is not None
    make_files(jobs, start(jobs, again, "T3"), b"x")
    made = jobs.done("T3", MADE)
    assert made is not None and made.state == "done"


def test_the_oldest_waits_no_longer_but_nobody_takes_all(jobs: Jobs, add: AddJob) -> None:
    first, second, third = add(), add(), add()
    other = add(user="lee")
    turns = []
    for number in range(4):
        job = jobs.next_waiting()
        assert job is not None
        turns.append(job.id)
        start(jobs, job, f"T{number}")
    assert turns == [first.id, other.id, second.id, third.id]
    assert jobs.next_waiting() is None


def test_done(jobs: Jobs, add: AddJob) -> None:
    job = start(jobs, add())
    assert jobs.of_task("T1") == job
    make_files(jobs, job)
    done = jobs.done("T1", MADE)
    assert done is not None
    assert (done.state, done.result_bytes, done.width, done.worker) == ("done", 6, 4, "w1")
    assert done.rev == job.rev + 1
    assert files(jobs) == {"job.json", "result.T1", "thumbnail.T1"}, "the upload is not needed"
    assert jobs.of_task("T1") is None
    assert jobs.done("T1", MADE) is None, "once"


def test_a_result_that_is_not_there_is_none(jobs: Jobs, add: AddJob) -> None:
    start(jobs, add())
    back = jobs.done("T1", MADE)
    assert back is not None
    assert (back.state, back.setback) == ("queued", "lost")


def test_what_a_lost_worker_left_goes_when_another_is_done(jobs: Jobs, add: AddJob) -> None:
    job = start(jobs, add())
    make_files(jobs, job, b"half")
    assert jobs.set_back("T1", "lost")
    again = start(jobs, job, "T2")
    make_files(jobs, again)
    assert jobs.done("T1", MADE) is None, "the lost one is late"
    assert jobs.done("T2", MADE)
    assert files(jobs) == {"job.json", "result.T2", "thumbnail.T2"}


def test_failed_is_final(jobs: Jobs, add: AddJob) -> None:
    job = start(jobs, add())
    failed = jobs.failed("T1", "no image")
    assert failed is not None
    assert (failed.state, failed.error, failed.retryable) == ("failed", "no image", False)
    assert jobs.retry(job.id, "kim") is None
    assert files(jobs) == {"job.json"}


def test_lost_it_waits_again_but_not_for_ever(jobs: Jobs, add: AddJob) -> None:
    job = add()
    for attempt in range(1, MAX_ATTEMPTS):
        start(jobs, job, f"T{attempt}")
        back = jobs.set_back(f"T{attempt}", "lost")
        assert back is not None
        assert (back.state, back.setback, back.attempts) == ("queued", "lost", attempt)
    start(jobs, job, "T")
    failed = jobs.set_back("T", "lost")
    assert failed is not None
    assert (failed.state, failed.setback, failed.retryable) == ("failed", "", True)
    assert "several attempts were interrupted" in failed.error

    again = jobs.retry(job.id, "kim")
    assert again is not None
    assert (again.state, again.attempts, again.error, again.retryable) == ("queued", 0, "", False)
    assert "source" in files(jobs)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("", "여러 번 시도했지만 모두 중단되었습니다"),
        ("The converter has a problem.", "변환기에 문제가 발생했습니다."),
        ("100 % 가득 찼습니다", "100 % 가득 찼습니다"),  # a worker's own words
    ],
)
def test_its_owner_is_told_in_their_own_language(
    jobs: Jobs, add: AddJob, error: str, text: str
) -> None:
    job = add(language="ko")
    assert job.order()["language"] == "ko"
    assert "language" not in job.view()
    for attempt in range(MAX_ATTEMPTS):
        start(jobs, job, f"T{attempt}")
        failed = jobs.set_back(f"T{attempt}", "lost", error)
    assert failed is not None
    assert text in failed.error


def test_handed_back_in_order_is_no_attempt(jobs: Jobs, add: AddJob) -> None:
    job = add()
    for number in range(MAX_ATTEMPTS + 1):
        start(jobs, job, f"T{number}")
        back = jobs.set_back(f"T{number}", "released")
        assert back is not None
        assert (back.state, back.setback, back.attempts) == ("queued", "released", 0)


def test_a_worker_s_own_trouble_is_an_attempt(jobs: Jobs, add: AddJob) -> None:
    job = add()
    for number in range(MAX_ATTEMPTS):
        start(jobs, job, f"T{number}")
        back = jobs.set_back(f"T{number}", "released", "The disk is full")
    assert back is not None
    assert (back.state, back.error, back.retryable) == ("failed", "The disk is full", True)


def test_cancel_and_try_again(jobs: Jobs, add: AddJob) -> None:
    job = start(jobs, add())
    make_files(jobs, job)
    cancelled = jobs.cancel(job.id, "kim")
    assert cancelled is not None
    assert (cancelled.state, cancelled.task, cancelled.retryable) == ("cancelled", "T1", True)
    assert files(jobs) == {"job.json", "source"}
    assert jobs.done("T1", MADE) is None
    assert jobs.next_waiting() is None
    assert jobs.cancel(job.id, "kim") is None
    again = jobs.retry(job.id, "kim")
    assert again is not None
    assert (again.state, again.task) == ("queued", "")


def test_a_job_that_does_not_wait_is_not_started(jobs: Jobs, add: AddJob) -> None:
    job = add()
    jobs.cancel(job.id, "kim")
    assert jobs.started(job.id, "T1") is None
    assert jobs.started("01M8398SNRB74VBRS1XZNPVY6Q", "T1") is None


def test_what_is_done_is_not_cancelled(jobs: Jobs, add: AddJob) -> None:
    job = start(jobs, add())
    make_files(jobs, job)
    jobs.done("T1", MADE)
    assert jobs.cancel(job.id, "kim") is None
    assert jobs.result(jobs.of("kim")[0]).exists()


@pytest.mark.parametrize("step", ["get", "cancel", "retry", "remove"])
def test_another_s_job_does_not_exist(jobs: Jobs, add: AddJob, step: str) -> None:
    job = start(jobs, add())
    if step == "retry":
        jobs.cancel(job.id, "kim")
    before = jobs.all()
    assert getattr(jobs, step)(job.id, "lee") is None
    assert jobs.all() == before


def test_removed_is_gone_from_the_disk(jobs: Jobs, add: AddJob) -> None:
    job = start(jobs, add())
    make_files(jobs, job)
    removed = jobs.remove(job.id, "kim")
    assert removed is not None
    assert (removed.state, removed.rev) == ("removed", job.rev + 1)
    assert files(jobs) == set()
    assert jobs.remove(job.id, "kim") is None


def test_its_time_is_over_after_an_hour(jobs: Jobs, add: AddJob) -> None:
    job = add()
    assert jobs.expired(NOW + KEEP - 1) == []
    assert jobs.expired(NOW + KEEP) == [job]


def test_what_is_no_job_is_swept(jobs: Jobs, add: AddJob) -> None:
    broken = jobs.root / "incoming" / "X"
    broken.mkdir(parents=True)
    (broken / "source").write_bytes(b"half")
    stuck = jobs.root / "trash" / "Y"
    stuck.mkdir(parents=True)
    (stuck / "source").write_bytes(b"x")
    odd = jobs.root / "jobs" / "Z"
    odd.mkdir(parents=True)
    (odd / "job.json").write_bytes(b"{")
    job = add()
    for folder in (broken, odd):
        os.utime(folder, (NOW, NOW))
    jobs.sweep(NOW + ABANDONED_UPLOAD - 1)
    assert broken.exists()
    assert odd.exists()
    assert not stuck.exists()
    jobs.sweep(NOW + KEEP + 1)
    assert not broken.exists()
    assert not odd.exists()
    assert jobs.all() == [job], "a job goes by its own time"
