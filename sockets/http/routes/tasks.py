"""Tasks and nodes, by HTTP."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router
from ninja.errors import HttpError

from sockets.api import aassign_task, acancel_task, anodes, atask
from sockets.http.schemas import CancelledOut, NodeOut, NodesOut, TaskIn, TaskOut

router = Router()


@router.post(
    "/tasks", response={201: TaskOut}, tags=["Tasks"], summary="Give work to one live worker"
)
async def assign(request: HttpRequest, task: TaskIn) -> tuple[int, TaskOut]:
    """Answers when a worker has accepted; 503 with the pools' load when none is free."""
    made = await aassign_task(
        task.pool,
        task.event,
        task.data,
        user_id=task.user,
        progress_to_user=task.progress_to_user,
        timeout=task.timeout,
        task_id=task.task_id,
    )
    return 201, TaskOut.of(made)


@router.get("/tasks/{task_id}", response=TaskOut, tags=["Tasks"], summary="A task as it is now")
async def task(request: HttpRequest, task_id: str) -> TaskOut:
    """404 if it never was, or ended longer ago than TASK_KEEP."""
    found = await atask(task_id)
    if found is None:
        raise HttpError(404, "there is no such task, or it ended too long ago")
    return TaskOut.of(found)


@router.delete("/tasks/{task_id}", response=CancelledOut, tags=["Tasks"], summary="Cancel a task")
async def cancel(request: HttpRequest, task_id: str) -> CancelledOut:
    """Its worker is told to stop."""
    return CancelledOut(cancelled=await acancel_task(task_id))


@router.get("/nodes", response=NodesOut, tags=["Nodes"], summary="The gateway processes that live")
async def nodes(request: HttpRequest) -> NodesOut:
    """By name, as each last described itself."""
    return NodesOut(nodes=[NodeOut.of(info) for info in await anodes()])
