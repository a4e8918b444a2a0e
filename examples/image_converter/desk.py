"""One change of a job at a time, and every tab of its owner hears of it.

The messages of a job replace each other (collapse key `job:<id>`), so a tab that was away gets the
newest view and not the ten before it. That is right only if they are sent in the order of the
changes: hence the lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec

from examples.image_converter.jobs import Jobs, Limits
from examples.image_converter.records import Job
from sockets.api import anotify_user
from sockets.conf import get_conf
from sockets.exceptions import GatewayError

log = logging.getLogger(__name__)

P = ParamSpec("P")


class Desk:
    """Belongs to one event loop."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self._one_at_a_time = asyncio.Lock()

    async def change(
        self, step: Callable[P, Job | None], *args: P.args, **kwargs: P.kwargs
    ) -> Job | None:
        """Do one of the steps of `Jobs`, and tell: `job.queued`, `job.done` and so on."""
        async with self._one_at_a_time:
            job = await asyncio.to_thread(step, *args, **kwargs)
            if job is not None:
                await _tell(job)
            return job


async def _tell(job: Job) -> None:
    """A gateway that cannot take it is no reason to undo the step: the list has the job."""
    try:
        await anotify_user(job.user, f"job.{job.state}", job.view(), collapse_key=f"job:{job.id}")
    except GatewayError as error:
        log.warning("could not tell %s of job %s: %s", job.user, job.id, error)


def desk() -> Desk:
    """The one of this process; the workers find the same folder below the same DATA_DIR."""
    conf = get_conf()
    return _desk_at(conf.data_dir / "demo", conf.body_demo)


@cache
def _desk_at(root: Path, upload: int) -> Desk:
    return Desk(Jobs(root, Limits(upload=upload)))
