"""Tasks and nodes, by HTTP."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router
from ninja.errors import HttpError

from sockets.api import aassign_task, acancel_task, anodes, atask
from sockets.auth.scopes import ADMIN, TASKS
from sockets.exceptions import Forbidden, NoWorkerAvailable
from sockets.http.schemas import CancelledOut, NodeOut, NodesOut, TaskIn, TaskOut
from sockets.http.security import ApiKey, may_use_pool
from sockets.types import Task

router = Router()


@router.post(
    "/tasks",
    response={201: TaskOut},
    auth=ApiKey(TASKS),
    tags=["Tasks"],
    summary="Give work to one live worker",
    openapi_extra={"responses": {"409": {"description": "Another task has this `task_id`."}}},
    operation_id="assign_task",
)
async def assign(request: HttpRequest, task: TaskIn) -> tuple[int, TaskOut]:
    """Answers when a worker has accepted; 503 with the load of the key's pools when none is free.
    A repetition with the same `task_id` and body returns the task that exists."""
    if not may_use_pool(request, task.pool):
        raise Forbidden(f"this key has no scope tasks:{task.pool}")
    try:
        made = await aassign_task(
            task.pool,
            task.event,
            task.data,
            user_id=task.user,
            progress_to_user=task.progress_to_user,
            timeout=task.timeout,
            task_id=task.task_id,
        )
    except NoWorkerAvailable as error:
        # Other pools are none of this key's business: not their names, not how full they are.
        seen = [load for load in error.pools if may_use_pool(request, load.pool)]
        raise NoWorkerAvailable(error.pool, seen, error.asked) from None
    return 201, TaskOut.of(made)


@router.get(
    "/tasks/{task_id}",
    response=TaskOut,
    auth=ApiKey(TASKS),
    tags=["Tasks"],
    summary="Read a task",
    operation_id="get_task",
)
async def task(request: HttpRequest, task_id: str) -> TaskOut:
    """404 if there never was such a task, or if it ended longer ago than TASK_KEEP."""
    return TaskOut.of(await _found(request, task_id))


@router.delete(
    "/tasks/{task_id}",
    response=CancelledOut,
    auth=ApiKey(TASKS),
    tags=["Tasks"],
    summary="Cancel a task",
    operation_id="cancel_task",
)
async def cancel(request: HttpRequest, task_id: str) -> CancelledOut:
    """Tell its worker to stop."""
    await _found(request, task_id)
    return CancelledOut(cancelled=await acancel_task(task_id))


@router.get(
    "/nodes",
    response=NodesOut,
    auth=ApiKey(ADMIN),
    tags=["Nodes"],
    summary="List the live gateway processes",
    operation_id="list_nodes",
)
async def nodes(request: HttpRequest) -> NodesOut:
    """Sorted by name, each as it last described itself."""
    return NodesOut(nodes=[NodeOut.of(info) for info in await anodes()])


async def _found(request: HttpRequest, task_id: str) -> Task:
    """Return the task; another pool's is none of this key's business, as if it did not exist."""
    found = await atask(task_id)
    if found is None or not may_use_pool(request, found.pool):
        raise HttpError(404, "there is no such task, or it ended too long ago")
    return found
