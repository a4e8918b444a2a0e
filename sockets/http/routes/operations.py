"""What operators see, by HTTP: the gateway, one user, refusals, work, traces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router
from ninja.errors import HttpError
from ninja.params.functions import Query

from sockets.api import (
    aend_trace,
    aoverview,
    aread_trace,
    arefusals,
    arelease_task,
    atask,
    atrace_user,
    auser_report,
    aworkers,
)
from sockets.auth.scopes import ADMIN, MESSAGES, PRESENCE, TASKS
from sockets.exceptions import Forbidden, InvalidMessage
from sockets.http.reports import (
    EndedOut,
    OverviewOut,
    RefusalsOut,
    TraceOut,
    UserReportOut,
    WorkersOut,
)
from sockets.http.schemas import Flag, Id, In, Seconds, TaskOut
from sockets.http.security import ApiKey, holds, may_use_pool
from sockets.reports import EndedTrace, NodeReport, Trace, WorkersReport

router = Router(tags=["Operations"])


class TraceIn(In):
    """For how long, and whether with what the frames say."""

    minutes: Seconds = Field(15, gt=0, le=15, description="It ends by itself then.")
    bodies: Flag = Field(False, description="Needs the scope `messages` too.")


@router.get(
    "/overview",
    response=OverviewOut,
    auth=ApiKey(PRESENCE),
    summary="The gateway at a glance",
    operation_id="overview",
)
async def overview(
    request: HttpRequest,
    after: float = Query(
        0, ge=0, lt=1e12, description="Only samples that end later: the newest `at` you have."
    ),
    last: float | None = Query(
        None, ge=0, lt=1e12, description="Only samples of the last so many seconds."
    ),
) -> Any:
    """Now, by node, and the last hour in steps of 10 seconds. Where a node runs (`host`, `pid`, its
    URLs) is empty for a key without `admin`, which `/nodes` needs too."""
    found = await aoverview(after=after, last=last)
    return (
        found if holds(request, ADMIN) else replace(found, nodes=list(map(_placeless, found.nodes)))
    )


def _placeless(node: NodeReport) -> NodeReport:
    return replace(node, info=replace(node.info, host="", pid=0, client_url="", worker_url=""))


@router.get(
    "/refusals",
    response=RefusalsOut,
    auth=ApiKey(PRESENCE),
    summary="Who was refused in the last hour",
    operation_id="list_refusals",
)
async def refusals(
    request: HttpRequest,
    user: str = Query("", max_length=1024, description="Only those who said to be this user."),
    address: str = Query("", max_length=255, description="How the address begins."),
    limit: int = Query(100, ge=1, le=1000),
) -> Any:
    """Why somebody cannot connect; the newest first."""
    return await arefusals(user=user, address=address, limit=limit)


@router.get(
    "/workers",
    response=WorkersOut,
    auth=ApiKey(PRESENCE),
    tags=["Tasks"],
    summary="Live workers and what they hold",
    operation_id="list_workers",
)
async def workers(request: HttpRequest) -> WorkersReport:
    """Pools, workers, tasks, and the tasks that ended last, without results: of those pools whose
    tasks the key may give (`tasks:*`: of all)."""
    return _of_pools_of(request, await aworkers())


@router.post(
    "/tasks/{task_id}/release",
    response=TaskOut,
    auth=ApiKey(TASKS),
    tags=["Tasks"],
    summary="Hand a running task back",
    openapi_extra={"responses": {"409": {"description": "The task does not run."}}},
    operation_id="release_task",
)
async def release(request: HttpRequest, task_id: Id) -> TaskOut:
    """It ends as `released`, and its worker is told to stop."""
    known = await atask(task_id)
    if known is None or not may_use_pool(request, known.pool):
        raise HttpError(404, "there is no such task, or it ended too long ago")
    ended = await arelease_task(task_id)
    if ended is None:
        raise HttpError(409, "the task does not run: it is offered only, or has ended")
    return TaskOut.of(ended)


@router.get(
    "/users/{gateway_segment:user}/report",
    response=UserReportOut,
    auth=ApiKey(PRESENCE),
    summary="What is known of a user",
    operation_id="user_report",
)
async def user(request: HttpRequest, user: str) -> UserReportOut:
    """Sessions, attached workers, block, headers of the stream, history; and tasks of those pools
    whose tasks the key may give."""
    found = await auser_report(user)
    seen = [task for task in found.tasks if may_use_pool(request, task.pool)]
    return UserReportOut.made_of(replace(found, tasks=seen))


@router.post(
    "/users/{gateway_segment:user}/trace",
    response=TraceOut,
    auth=ApiKey(ADMIN),
    summary="Trace a user",
    operation_id="trace_user",
)
async def trace(request: HttpRequest, user: str, wanted: TraceIn) -> Trace:
    """Record the frames of all of a user's sessions, in memory, for at most 15 minutes. `bodies`
    needs the scope `messages` too."""
    if wanted.bodies and not holds(request, MESSAGES):
        raise Forbidden(f"bodies need the scope {MESSAGES} too")
    return await atrace_user(user, minutes=wanted.minutes, bodies=wanted.bodies)


@router.get(
    "/users/{gateway_segment:user}/trace",
    response=TraceOut,
    auth=ApiKey(ADMIN),
    summary="Read the trace of a user",
    operation_id="read_trace",
)
async def read(
    request: HttpRequest,
    user: str,
    after: str = Query(
        "",
        max_length=8_192,
        pattern="^[A-Za-z0-9_=-]*$",
        description="The `next` of the answer before.",
    ),
) -> Trace:
    """404: the user is not traced, or `after` is none of a trace. The key needs `presence`
    too; with `messages` it sees bodies."""
    if not holds(request, PRESENCE):
        raise Forbidden(f"frames of a user need the scope {PRESENCE} too")
    try:
        found = await aread_trace(user, after=after, bodies=holds(request, MESSAGES))
    except InvalidMessage as error:
        raise HttpError(404, str(error)) from None
    if found is None:
        raise HttpError(404, "this user is not traced")
    return found


@router.delete(
    "/users/{gateway_segment:user}/trace",
    response=EndedOut,
    auth=ApiKey(ADMIN),
    summary="End the trace of a user",
    operation_id="end_trace",
)
async def end(request: HttpRequest, user: str) -> EndedTrace:
    """And forget what it recorded."""
    return await aend_trace(user)


def _of_pools_of(request: HttpRequest, found: WorkersReport) -> WorkersReport:
    """Return what the request's key may see: other pools are none of its business."""
    workers = [
        replace(
            one,
            pools=tuple(pool for pool in one.pools if may_use_pool(request, pool)),
            tasks=[task for task in one.tasks if may_use_pool(request, task.pool)],
        )
        for one in found.workers
    ]
    seen = [one for one in workers if one.pools]
    return WorkersReport(
        pools=[load for load in found.pools if may_use_pool(request, load.pool)],
        workers=seen,
        total=found.total - len(workers) + len(seen),
        ended=[task for task in found.ended if may_use_pool(request, task.pool)],
    )
