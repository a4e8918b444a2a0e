"""The API server's own record of the conversion jobs: one folder each, no database.

    incoming/<id>/           an upload on its way in; not a job yet
    jobs/<id>/job.json       the record; `rev` grows with every change
             source          the upload, until it is converted or expired
             result.<task>   what the worker made for that task, and
             thumbnail.<task>
    trash/                   on its way out

The gateway's tasks come and go, a job stays: it names the task that works on it now. Only the API
server writes `job.json`, one change at a time (`desk.py` sees to that); a worker reads `source` and
writes files that carry its task's own name, so one that was lost and goes on disturbs nobody. The
folder stands for what a platform has in its database and its object storage.

Methods block on the disk. `now` is the wall clock in seconds.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from django.utils.translation import gettext, override
from django.utils.translation import gettext_noop as _
from ulid import ULID

from examples.image_converter.convert import Wish
from examples.image_converter.records import Job, Made

KEEP = 3600.0
"""Seconds from the upload until a job and its files are deleted."""
ABANDONED_UPLOAD = 600.0
MAX_ATTEMPTS = 3
"""A job that outlived this many workers has probably killed them."""

_CHUNK = 256 * 1024
_FULL = _("The converter is full right now. Please try again in a few minutes.")
_GAVE_UP = _("This image could not be converted: several attempts were interrupted.")


class Refused(Exception):
    """This upload is not taken. `code` for programs, the text for people."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Readable(Protocol):
    """What an upload is read from; a Django request is one."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of one upload, jobs of one user and of everybody, bytes of everything."""

    upload: int = 20 * 1024 * 1024
    per_user: int = 50
    total: int = 500
    bytes: int = 4 * 1024**3


class Jobs:
    """All jobs below `root`. A method that changes one returns it as it is then, or None if there
    was nothing to change (any more)."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()

    # --- looking

    def all(self) -> list[Job]:
        """Newest first."""
        found = [job for folder in _folders(self.root / "jobs") if (job := _read(folder))]
        return sorted(found, key=lambda job: job.id, reverse=True)

    def of(self, user: str) -> list[Job]:
        """This user's, newest first."""
        return [job for job in self.all() if job.user == user]

    def get(self, job_id: str, user: str) -> Job | None:
        """None if there is none of that id, or it is another user's: nobody can tell which."""
        job = _read(self._folder(job_id))
        return job if job and job.user == user else None

    def of_task(self, task: str) -> Job | None:
        """The job that this task works on, if it still does."""
        running = (job for job in self.all() if job.state == "working" and job.task == task)
        return next(running, None)

    def next_waiting(self) -> Job | None:
        """Whose turn it is: the oldest one of the user with the fewest at work."""
        found = self.all()
        busy = Counter(job.user for job in found if job.state == "working")
        waiting = (job for job in found if job.state == "queued")
        return min(waiting, key=lambda job: (busy[job.user], job.id), default=None)

    def result(self, job: Job) -> Path:
        return self._folder(job.id) / f"result.{job.task}"

    def thumbnail(self, job: Job) -> Path:
        """It may be there before the result is, or never."""
        return self._folder(job.id) / f"thumbnail.{job.task}"

    # --- uploads

    def receive(
        self,
        source: Readable,
        *,
        user: str,
        name: str,
        wish: Wish,
        now: float,
        ref: str = "",
        language: str = "en",
    ) -> Job:
        """Store an upload, not queued yet. Raises Refused, in that language: it is empty or too
        large, or there is no room."""
        self._check_room(user, language)
        job_id = str(ULID())
        folder = self.root / "incoming" / job_id
        folder.mkdir(parents=True)
        try:
            size = self._take(source, folder / "source", language)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Job(
            id=job_id, user=user, name=name, ref=ref, created=now, expires=now + KEEP,
            source_bytes=size, format=wish.format, side=wish.side, quality=wish.quality,
            language=language,
        )  # fmt: skip

    def queue(self, job: Job) -> Job:
        """What was received becomes a job. Raises Refused: others that came at the same time have
        taken the room."""
        folder = self.root / "incoming" / job.id
        try:
            self._check_room(job.user, job.language)
        except Refused:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _write(folder, job)
        (self.root / "jobs").mkdir(exist_ok=True)
        folder.rename(self._folder(job.id))
        return job

    def _check_room(self, user: str, language: str) -> None:
        found, limits = self.all(), self.limits
        if sum(job.user == user for job in found) >= limits.per_user:
            text = _("You can keep up to %(count)d images here. Please remove some first.")
            raise Refused("too_many", 429, _said(language, text, count=limits.per_user))
        if len(found) >= limits.total or _held(found) >= limits.bytes:
            raise Refused("full", 503, _said(language, _FULL))

    def _take(self, source: Readable, path: Path, language: str) -> int:
        size = 0
        with path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > self.limits.upload:
                    text = _("This file is too large. The limit is %(most)d MB.")
                    text = _said(language, text, most=self.limits.upload // 2**20)
                    raise Refused("too_large", 413, text)
                file.write(chunk)
        if not size:
            raise Refused("empty", 400, _said(language, _("This file is empty.")))
        return size

    # --- the life of a job

    def started(self, job_id: str, task: str) -> Job | None:
        """A worker has accepted it. None: it is not waiting any more."""
        job = _read(self._folder(job_id))
        if job is None or job.state != "queued":
            return None
        return self._change(job, state="working", task=task)

    def done(self, task: str, made: Made) -> Job | None:
        """Its result is complete; the upload is not needed any more. `failed` without room."""
        job = self.of_task(task)
        if job is None:
            return None
        try:
            size = self.result(job).stat().st_size
        except FileNotFoundError:
            return self.set_back(task, "lost")
        if _held(self.all()) + size > self.limits.bytes:  # a small upload may become very large
            text = _said(job.language, _FULL)
            changed = self._change(job, state="failed", error=text, setback="", retryable=True)
            self._tidy(changed)
            return changed
        changed = self._change(
            job, state="done", result_bytes=size, setback="", **msgspec.structs.asdict(made)
        )
        self._tidy(changed, "source")
        return changed

    def failed(self, task: str, error: str) -> Job | None:
        """It cannot be converted, by anybody; `error` is for its owner."""
        job = self.of_task(task)
        if job is None:
            return None
        changed = self._change(job, state="failed", error=error, setback="")
        self._tidy(changed, "source")
        return changed

    def set_back(self, task: str, why: Literal["lost", "released"], error: str = "") -> Job | None:
        """Its task ended without a result: it waits again, unless that happened too often.

        `error`: what kept a worker from finishing; without it, `released` is no failed attempt.
        """
        job = self.of_task(task)
        if job is None:
            return None
        attempts = job.attempts + (why == "lost" or bool(error))
        if attempts < MAX_ATTEMPTS:
            return self._change(job, state="queued", setback=why, attempts=attempts)
        text = _said(job.language, error or _GAVE_UP)  # a worker's own words stay as they are
        return self._change(
            job, state="failed", error=text, attempts=attempts, setback="", retryable=True
        )

    def cancel(self, job_id: str, user: str) -> Job | None:
        """Its owner stops it; `task` tells what to cancel, if it was working."""
        job = self.get(job_id, user)
        if job is None or job.state not in ("queued", "working"):
            return None
        changed = self._change(job, state="cancelled", setback="", retryable=True)
        self._tidy(changed)
        return changed

    def retry(self, job_id: str, user: str) -> Job | None:
        """Its owner wants it once more."""
        job = self.get(job_id, user)
        if job is None or not job.retryable:
            return None
        return self._change(
            job, state="queued", task="", attempts=0, error="", worker="", retryable=False
        )

    def remove(self, job_id: str, user: str) -> Job | None:
        """Its owner has done with it: the job and its files are gone."""
        job = self.get(job_id, user)
        if job is None:
            return None
        self._delete(self._folder(job_id))
        return msgspec.structs.replace(job, state="removed", rev=job.rev + 1)

    def expired(self, now: float) -> list[Job]:
        """Those whose time is over."""
        return [job for job in self.all() if job.expires <= now]

    def sweep(self, now: float) -> None:
        """Delete what is no job: uploads that broke off, what could not be deleted before, and
        folders whose record cannot be read."""
        shutil.rmtree(self.root / "trash", ignore_errors=True)
        for folder in _folders(self.root / "incoming"):
            if _age(folder, now) > ABANDONED_UPLOAD:
                self._delete(folder)
        for folder in _folders(self.root / "jobs"):
            if _age(folder, now) > KEEP and _read(folder) is None:
                self._delete(folder)

    # --- the folder itself

    def _folder(self, job_id: str) -> Path:
        return self.root / "jobs" / job_id

    def _change(self, job: Job, **changes: Any) -> Job:
        changed = msgspec.structs.replace(job, rev=job.rev + 1, **changes)
        _write(self._folder(job.id), changed)
        return changed

    def _tidy(self, job: Job, *more: str) -> None:
        """Delete what earlier tasks of this job left, and `more`."""
        folder = self._folder(job.id)
        keep = {self.result(job).name, self.thumbnail(job).name} if job.state == "done" else set()
        for name in os.listdir(folder):
            left = name.startswith(("result.", "thumbnail.")) and name not in keep
            if left or name in more:
                (folder / name).unlink(missing_ok=True)

    def _delete(self, folder: Path) -> None:
        """Out of sight in one step, then off the disk."""
        trash = self.root / "trash" / f"{folder.name}.{secrets.token_hex(4)}"
        trash.parent.mkdir(exist_ok=True)
        try:
            folder.rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)


def _said(language: str, text: str, **values: object) -> str:
    """The text in this language, which a thread does not have from its request."""
    with override(language):
        return gettext(text) % values if values else gettext(text)


def _held(jobs: list[Job]) -> int:
    return sum(job.source_bytes + job.result_bytes for job in jobs)


def _folders(parent: Path) -> Iterator[Path]:
    try:
        names = os.listdir(parent)
    except FileNotFoundError:
        return
    for name in names:
        yield parent / name


def _age(folder: Path, now: float) -> float:
    try:
        return now - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _read(folder: Path) -> Job | None:
    """The job in this folder; None if there is none that can be read."""
    try:
        return msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def _write(folder: Path, job: Job) -> None:
    draft = folder / "job.json.new"
    draft.write_bytes(msgspec.json.encode(job))
    draft.replace(folder / "job.json")
