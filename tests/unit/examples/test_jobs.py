"""The folder that is the queue."""

from __future__ import annotations

import os
import threading
from io import BytesIO
from pathlib import Path

import pytest

from examples.image_converter.jobs import (
    ABANDONED_UPLOAD,
    KEEP,
    MAX_ATTEMPTS,
    STALE,
    Claim,
    Gone,
    JobFolder,
    Limits,
    Refused,
)
from tests.unit.examples.conftest import NOW, AddJob


def take(jobs: JobFolder, now: float = NOW) -> Claim:
    claim = jobs.claim(now)
    assert claim is not None
    return claim


def silent(claim: Claim) -> None:
    """As if the worker had died long ago."""
    os.utime(claim.source.parent, (NOW - STALE - 1, NOW - STALE - 1))


def test_a_job_is_queued_claimed_and_done(jobs: JobFolder, add: AddJob) -> None:
    job = add(b"12345", ref="tab-1")
    assert (job.state, job.source_bytes, job.ref) == ("queued", 5, "tab-1")
    assert jobs.jobs_of("kim") == [job]

    claim = take(jobs)
    assert claim.source.read_bytes() == b"12345"
    assert [found.state for found in jobs.jobs_of("kim")] == ["working"]
    claim.result.write_bytes(b"abc")
    done = claim.done(width=3, height=4)

    assert (done.state, done.result_bytes, done.width) == ("done", 3, 3)
    assert done.rev > claim.job.rev - 1 > job.rev
    assert jobs.jobs_of("kim") == [done]
    found = jobs.result(job.id, "kim")
    assert found is not None
    assert found[1].read_bytes() == b"abc"
    assert not (found[1].parent / "source").exists(), "the upload is not kept longer than needed"


def test_the_oldest_job_is_claimed_first(jobs: JobFolder, add: AddJob) -> None:
    ids = sorted(add().id for _ in range(3))
    assert [take(jobs).job.id for _ in ids] == ids
    assert jobs.claim(NOW) is None


def test_no_job_is_claimed_twice(jobs: JobFolder, add: AddJob) -> None:
    ids = {add().id for _ in range(20)}
    claimed: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        while claim := jobs.claim(NOW):
            claimed.append(claim.job.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_every_change_raises_the_revision(jobs: JobFolder, add: AddJob) -> None:
    first = add()
    claim = take(jobs)
    seen = [first.rev, claim.job.rev]
    seen.append(claim.update(percent=10).rev)
    seen.append(claim.put_back().rev)
    claim = take(jobs)
    seen.append(claim.job.rev)
    seen.append(claim.fail("broken").rev)
    assert seen == sorted(set(seen))


def test_the_view_hides_whose_it_is_and_always_has_every_member(add: AddJob) -> None:
    view = add().view()
    assert "user" not in view
    assert {"id", "rev", "state", "percent", "written", "error", "note", "step"} <= set(view)


def test_other_users_see_nothing(jobs: JobFolder, add: AddJob) -> None:
    job = add()
    claim = take(jobs)
    claim.result.write_bytes(b"abc")
    claim.done()
    assert jobs.jobs_of("lee") == []
    assert jobs.result(job.id, "lee") is None


def test_there_is_no_result_before_the_end(jobs: JobFolder, add: AddJob) -> None:
    job = add()
    assert jobs.result(job.id, "kim") is None
    take(jobs).fail("broken")
    assert jobs.result(job.id, "kim") is None


def test_the_job_of_a_dead_worker_is_put_back(jobs: JobFolder, add: AddJob) -> None:
    add()
    dead = take(jobs)
    dead.result.write_bytes(b"half")
    assert jobs.revive(NOW) == [], "it is alive"
    silent(dead)
    (revived,) = jobs.revive(NOW)
    assert revived.state == "queued"

    second = take(jobs)
    assert second.job.attempts == 2
    assert not second.result.exists()
    for late in (lambda: dead.update(percent=50), lambda: dead.touch(NOW), dead.put_back):
        with pytest.raises(Gone):
            late()
    assert second.update(percent=1).percent == 1, "the late worker did not disturb the new one"


def test_a_sign_of_life_is_enough(jobs: JobFolder, add: AddJob) -> None:
    add()
    claim = take(jobs)
    silent(claim)
    claim.touch(NOW)
    assert jobs.revive(NOW) == []


def test_a_job_that_waited_long_is_not_stale_the_moment_it_is_claimed(
    jobs: JobFolder, add: AddJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add()
    os.utime(jobs.root / "incoming" / job.id, (NOW - STALE - 1, NOW - STALE - 1))
    seen: list[object] = []
    monkeypatch.setattr(Claim, "update", lambda claim, **_: seen.extend(jobs.revive(NOW)))
    take(jobs)
    assert seen == []


def test_a_job_that_kills_workers_is_given_up(jobs: JobFolder, add: AddJob) -> None:
    add()
    for _ in range(MAX_ATTEMPTS):
        silent(take(jobs))
        (job,) = jobs.revive(NOW)
    assert job.state == "failed"
    assert "Gave up" in job.error
    assert jobs.claim(NOW) is None


def test_everything_is_deleted_in_the_end(jobs: JobFolder, add: AddJob) -> None:
    add()
    add()
    claim = take(jobs)
    claim.result.write_bytes(b"abc")
    claim.done()
    jobs.expire(NOW + KEEP - 1)
    assert len(jobs.jobs_of("kim")) == 2
    jobs.expire(NOW + KEEP)
    assert jobs.jobs_of("kim") == []
    assert [path for path in jobs.root.rglob("*") if path.is_file()] == []


def test_a_job_that_is_being_converted_does_not_expire(jobs: JobFolder, add: AddJob) -> None:
    add()
    claim = take(jobs)
    jobs.expire(NOW + KEEP)
    assert claim.update(percent=5).percent == 5


def test_an_abandoned_upload_is_deleted(jobs: JobFolder) -> None:
    folder = jobs.root / "receiving" / "01M8398SNRB74VBRS1XZNPVY6Q"
    folder.mkdir(parents=True)
    (folder / "source").write_bytes(b"half")
    os.utime(folder, (NOW, NOW))
    jobs.expire(NOW + ABANDONED_UPLOAD - 1)
    assert folder.exists()
    jobs.expire(NOW + ABANDONED_UPLOAD + 1)
    assert not folder.exists()


@pytest.mark.parametrize(("content", "code"), [(b"", "empty"), (b"123456", "too_large")])
def test_a_bad_upload_leaves_nothing(tmp_path: Path, content: bytes, code: str) -> None:
    jobs = JobFolder(tmp_path, Limits(upload=5))
    with pytest.raises(Refused) as refused:
        jobs.add(BytesIO(content), user="kim", name="x", format="png", now=NOW)
    assert refused.value.code == code
    assert list((tmp_path / "receiving").iterdir()) == []


def test_the_oldest_finished_job_makes_room(tmp_path: Path) -> None:
    jobs = JobFolder(tmp_path, Limits(per_user=3))

    def add() -> str:
        return jobs.add(BytesIO(b"x"), user="kim", name="x", format="png", now=NOW).id

    ids = [add() for _ in range(3)]
    take(jobs).fail("first")
    take(jobs).fail("second")
    newest = add()
    assert {job.id for job in jobs.jobs_of("kim")} == {ids[1], ids[2], newest}


def test_what_waits_is_bounded_per_user_and_in_total(tmp_path: Path) -> None:
    jobs = JobFolder(tmp_path, Limits(per_user=2, total=3))

    def add(user: str) -> None:
        jobs.add(BytesIO(b"x"), user=user, name="x", format="png", now=NOW)

    add("kim")
    add("kim")
    with pytest.raises(Refused) as refused:
        add("kim")
    assert (refused.value.code, refused.value.status) == ("too_many", 429)
    add("lee")
    with pytest.raises(Refused) as refused:
        add("lee")
    assert (refused.value.code, refused.value.status) == ("full", 503)
