"""The conversion jobs: a folder that is the queue. No database, no Django, no lock.

    receiving/<id>/          an upload on its way in; not a job yet
    incoming/<id>/           waiting for a worker
    working/<id>.<claim>/    one worker's; the folder's mtime is that worker's sign of life
    done/<id>/  failed/<id>/ finished

Each job is one folder with `job.json`, `source` and, in the end, `result`. Every step is one
rename of that folder, which either happens or does not: two workers cannot take the same job, and
a claim's random name keeps a late worker from touching a job that has moved on. Whoever holds the
folder is the only one who writes `job.json`, and each write raises `rev`, so a reader can tell
which of two views of a job is the newer one.

`now` is the wall clock in seconds, always an argument.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from ulid import ULID

State = Literal["queued", "working", "done", "failed"]
Step = Literal["reading", "converting", "writing"]

KEEP = 3600.0
"""Seconds from the upload until a job and its files are deleted."""
STALE = 15.0
"""Seconds without a sign of life after which a worker is held for dead."""
ABANDONED_UPLOAD = 600.0
MAX_ATTEMPTS = 3
"""A job that outlived this many workers has probably killed them."""

_CHUNK = 256 * 1024
_INCOMING, _WORKING, _FINISHED = "incoming", "working", ("done", "failed")


class Refused(Exception):
    """This upload is not taken. `code` for programs, the text for people."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Gone(Exception):
    """The claim's folder is not there any more: the job was given to another worker."""


class Readable(Protocol):
    """What an upload is read from; a Django request is one."""

    def read(self, size: int, /) -> bytes: ...


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One conversion, as `job.json` holds it. Sizes are bytes, times epoch seconds.

    `ref`: the uploading tab's own name for it. `percent`: of the step that is running, None when
    it cannot be measured. `written`: bytes of the result so far.
    """

    id: str
    user: str
    name: str
    format: str
    created: float
    expires: float
    source_bytes: int
    state: State = "queued"
    rev: int = 1
    ref: str = ""
    attempts: int = 0
    step: Step | None = None
    percent: int | None = None
    written: int = 0
    source_format: str = ""
    width: int = 0
    height: int = 0
    result_bytes: int = 0
    note: str = ""
    error: str = ""

    def view(self) -> dict[str, Any]:
        """What its owner may see, as JSON types. Every member is always there."""
        hidden = ("user", "attempts")
        return {n: getattr(self, n) for n in self.__struct_fields__ if n not in hidden}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the folder holds: bytes of one upload, jobs of one user, jobs of everybody."""

    upload: int = 20 * 1024 * 1024
    per_user: int = 20
    total: int = 100


class JobFolder:
    """All jobs below `root`. Methods block on the disk: call them from a thread."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()

    # --- the API server's side

    def add(
        self, source: Readable, *, user: str, name: str, format: str, now: float, ref: str = ""
    ) -> Job:
        """Store an upload and put it into the queue.

        Raises Refused when it is empty, too large, or there is no room.
        """
        self._make_room(user)
        job_id = str(ULID())
        folder = self._made("receiving") / job_id
        folder.mkdir()
        try:
            size = self._receive(source, folder / "source")
            job = Job(
                id=job_id, user=user, name=name, format=format, ref=ref,
                created=now, expires=now + KEEP, source_bytes=size,
            )  # fmt: skip
            _write(folder, job)
            folder.rename(self._made(_INCOMING) / job_id)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return job

    def jobs_of(self, user: str) -> list[Job]:
        """This user's jobs, newest first."""
        newest: dict[str, Job] = {}
        # Jobs move while we look. In this order one that moves on is seen twice rather than never;
        # the second look at `incoming` is for one that was handed back.
        for state in (_INCOMING, _WORKING, *_FINISHED, _INCOMING):
            for folder in self._folders(state):
                job = _read(folder)
                if job and job.user == user and _newer(job, newest.get(job.id)):
                    newest[job.id] = job
        return sorted(newest.values(), key=lambda job: job.id, reverse=True)

    def result(self, job_id: str, user: str) -> tuple[Job, Path] | None:
        """A finished job and its file; None if there is none, or it is somebody else's."""
        folder = self.root / "done" / job_id
        job = _read(folder)
        path = folder / "result"
        if job is None or job.user != user or not path.is_file():
            return None
        return job, path

    def expire(self, now: float) -> None:
        """Delete what is over. What a worker still holds is left to `revive` first."""
        for state in (_INCOMING, *_FINISHED):
            for folder in self._folders(state):
                job = _read(folder)
                if job and job.expires <= now:
                    self._delete(folder)
        for state in ("receiving", "trash"):
            for folder in self._folders(state):
                if _age(folder, now) > ABANDONED_UPLOAD:
                    self._delete(folder)

    def _make_room(self, user: str) -> None:
        """Drop this user's oldest finished job if need be; raise Refused if that is not enough."""
        mine = self.jobs_of(user)
        finished = [job for job in mine if job.state in _FINISHED]
        surplus = len(mine) - self.limits.per_user + 1
        if surplus > len(finished):
            raise Refused(
                "too_many", 429,
                f"{self.limits.per_user} of your images are waiting: let some finish first",
            )  # fmt: skip
        for job in finished[len(finished) - surplus :] if surplus > 0 else ():
            self._delete(self.root / job.state / job.id)
        states = (_INCOMING, _WORKING, *_FINISHED)
        if sum(1 for state in states for _ in self._folders(state)) >= self.limits.total:
            raise Refused("full", 503, "The converter is full: try again in a few minutes")

    def _receive(self, source: Readable, path: Path) -> int:
        size = 0
        with path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > self.limits.upload:
                    raise Refused("too_large", 413, f"Larger than {self.limits.upload // 2**20} MB")
                file.write(chunk)
        if not size:
            raise Refused("empty", 400, "The file is empty")
        return size

    # --- the worker's side

    def claim(self, now: float) -> Claim | None:
        """Take the oldest waiting job, or None. Never the same job for two callers."""
        for folder in sorted(self._folders(_INCOMING)):
            target = self._made(_WORKING) / f"{folder.name}.{secrets.token_hex(4)}"
            try:
                # Alive before it is in `working`: nobody may find it there and think it stale.
                os.utime(folder, (now, now))
                folder.rename(target)
            except FileNotFoundError:
                continue  # another worker was quicker
            job = _read(target)
            if job is None:
                self._delete(target)
                continue
            claim = Claim(self, target, job)
            claim.update(state="working", attempts=job.attempts + 1)
            return claim
        return None

    def revive(self, now: float) -> list[Job]:
        """Put the jobs of dead workers back; returns them as they are now (queued or failed)."""
        revived = []
        for folder in self._folders(_WORKING):
            if _age(folder, now) <= STALE:
                continue
            job = _read(folder)
            if job is None:
                self._delete(folder)
                continue
            claim = Claim(self, folder, job)
            try:
                if job.attempts >= MAX_ATTEMPTS:
                    message = f"Gave up: {job.attempts} workers stopped while converting it"
                    revived.append(claim.fail(message))
                else:
                    revived.append(claim.put_back())
            except Gone:
                continue
        return revived

    # --- the folder itself

    def _made(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _folders(self, state: str) -> Iterator[Path]:
        try:
            names = os.listdir(self.root / state)
        except FileNotFoundError:
            return
        for name in names:
            yield self.root / state / name

    def _delete(self, folder: Path) -> None:
        """Out of sight in one step, then off the disk."""
        trash = self._made("trash") / f"{folder.name}.{secrets.token_hex(4)}"
        try:
            folder.rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)


class Claim:
    """A job that is ours, until `done`, `fail` or `put_back`. Each may raise Gone."""

    def __init__(self, jobs: JobFolder, folder: Path, job: Job) -> None:
        self._jobs = jobs
        self._folder = folder
        self.job = job

    @property
    def source(self) -> Path:
        return self._folder / "source"

    @property
    def result(self) -> Path:
        return self._folder / "result"

    def touch(self, now: float) -> None:
        """A sign of life."""
        try:
            os.utime(self._folder, (now, now))
        except FileNotFoundError:
            raise Gone from None

    def update(self, **changes: Any) -> Job:
        """Write changes into `job.json`; that is a sign of life too."""
        job = msgspec.structs.replace(self.job, rev=self.job.rev + 1, **changes)
        try:
            _write(self._folder, job)
        except FileNotFoundError:
            raise Gone from None
        self.job = job
        return job

    def done(self, **changes: Any) -> Job:
        """The result is complete."""
        size = self.result.stat().st_size
        self.update(state="done", step=None, percent=None, result_bytes=size, **changes)
        return self._move("done")

    def fail(self, error: str) -> Job:
        """It cannot be converted; `error` is for its owner."""
        self.update(state="failed", step=None, percent=None, error=error)
        return self._move("failed")

    def put_back(self) -> Job:
        """Hand it back: another worker begins from the start."""
        self.update(state="queued", step=None, percent=None, written=0)
        self.result.unlink(missing_ok=True)
        return self._move(_INCOMING)

    def _move(self, state: str) -> Job:
        if state in _FINISHED:
            self.source.unlink(missing_ok=True)
        try:
            self._folder.rename(self._jobs._made(state) / self.job.id)
        except FileNotFoundError:
            raise Gone from None
        return self.job


def _newer(job: Job, than: Job | None) -> bool:
    return than is None or job.rev > than.rev


def _age(folder: Path, now: float) -> float:
    try:
        return now - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _read(folder: Path) -> Job | None:
    """The job in this folder; None if it has moved on meanwhile or cannot be read."""
    try:
        return msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def _write(folder: Path, job: Job) -> None:
    draft = folder / "job.json.new"
    draft.write_bytes(msgspec.json.encode(job))
    draft.replace(folder / "job.json")
