"""Work for workers."""

from __future__ import annotations

from sockets.api.calls import call_id
from sockets.api.carry import CALL_TIMEOUT, at_node, sync_face
from sockets.api.data import as_data
from sockets.api.given import given
from sockets.api.users import UserId, as_user
from sockets.base import audit
from sockets.base.ids import parse_ulid
from sockets.conf import get_conf
from sockets.exceptions import InvalidMessage
from sockets.types import Audit, PoolLoad, Task


def _user_or_none(user: UserId | None) -> str | None:
    return None if user is None else as_user(user)


@given(user_id=_user_or_none, data=as_data)
async def aassign_task(
    pool: str,
    event: str,
    data: object = None,
    *,
    user_id: UserId | None = None,
    progress_to_user: bool = True,
    timeout: float | None = None,
    task_id: str | None = None,
) -> Task:
    """Give work to one live worker of `pool`; returns when one has accepted.

    The gateway is no job queue: raises NoWorkerAvailable if nobody is free, and a task whose worker
    vanishes is `lost`, not repeated. The job stays yours; signals (`task_…`) announce the end.
    `user_id`: whom it is for. With `progress_to_user` the user's sessions get `task.progress`,
    `task.done` and so on; without, only `task.lost`. `timeout`: seconds that the running task may
    be silent before it is lost (default: TASK_TIMEOUT). `task_id`: a ULID of yours, so that you can
    store it first. Repeating a call with the same `task_id` and arguments (`data` is compared as
    JSON) returns the task that there is; with other arguments it raises TaskIdTaken.
    """
    if task_id is not None:
        task_id = _require_ulid(task_id)
    user = None if user_id is None else str(user_id)
    return await at_node(
        lambda node: node.dispatcher.assign(
            pool,
            event,
            data,
            user_id=user,
            progress_to_user=progress_to_user,
            timeout=timeout,
            id=call_id.get() if task_id is None else task_id,
        ),
        _assign_patience(),
    )


@given()
async def acancel_task(task_id: str) -> bool:
    """Cancel a live task; its worker is asked to stop. False: it had ended, or never was."""
    id = _ulid(task_id)
    was = await at_node(lambda node: node.dispatcher.cancel(id or task_id))
    audit.record(Audit.TASK_CANCELLED, task=id or "", was=was)
    return was


@given()
async def atask(task_id: str) -> Task | None:
    """Return a task as it is now; None if it never was, or ended longer ago than TASK_KEEP."""
    id = _ulid(task_id) or task_id
    return await at_node(lambda node: node.dispatcher.get(id))


@given()
async def aworker_pools() -> list[PoolLoad]:
    """Return the pools that have live workers, and how full they are."""
    return await at_node(lambda node: node.dispatcher.pools())


def _ulid(id: object) -> str | None:
    """Return an id in its canonical form; None for what is none."""
    return parse_ulid(id) if isinstance(id, str) else None


def _require_ulid(id: str) -> str:
    """Return a task id in its canonical form. Raises InvalidMessage."""
    ulid = _ulid(id)
    if ulid is None:
        raise InvalidMessage("a task id is a ULID: 26 characters, such as str(ulid.ULID())")
    return ulid


def _assign_patience(*_: object, **__: object) -> float:
    """Return how long to wait: the last worker may be asked just before the end."""
    conf = get_conf()
    return conf.task_assign_timeout + conf.task_accept_timeout + CALL_TIMEOUT


assign_task = sync_face(aassign_task, patience=_assign_patience)
cancel_task = sync_face(acancel_task)
task = sync_face(atask)
worker_pools = sync_face(aworker_pools)
