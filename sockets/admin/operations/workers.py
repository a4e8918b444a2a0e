"""Workers, their pools, and who holds which task since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import messages
from django.http import Http404
from django.urls import URLPattern
from django.utils.functional import Promise
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.operations import source, words
from sockets.admin.operations.actions import Action, Affected, Done, one_of
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import Cell, Column, Part, Row, Table, outside, visible
from sockets.admin.operations.viewer import Viewer, address
from sockets.models import Worker
from sockets.reports import WorkerReport, WorkersReport
from sockets.types import PoolLoad, Task, TaskState


class WorkerAdmin(Page):
    """Pools, workers, tasks and their ends; tasks are cancelled and handed back from here."""

    permission = "view_worker"

    def more_urls(self) -> list[URLPattern]:
        return [CancelTask().at(self), ReleaseTask().at(self)]

    def parts(self, viewer: Viewer) -> Sequence[Part]:
        found = source.workers()
        held = [task for worker in found.workers for task in worker.tasks]
        viewer.know(task.user for task in (*held, *found.ended) if task.user)
        tasks = tasks_table(held, viewer, id="tasks")
        tasks.title = pgettext("gateway", "Tasks held")
        ended = tasks_table(found.ended, viewer, id="ended")
        ended.title = pgettext("gateway", "Newest ends")
        ended.empty = pgettext("gateway", "No task has ended.")
        return [_pools(found.pools), _workers(found, viewer), tasks, ended]


def _pools(found: Sequence[PoolLoad]) -> Table:
    columns = [
        Column("pool", pgettext("gateway", "Pool")),
        Column("workers", pgettext("gateway", "Workers"), number=True),
        Column("held", pgettext("gateway", "Held"), number=True),
        Column("capacity", pgettext("gateway", "Capacity"), number=True),
        Column("free", pgettext("gateway", "Free"), number=True),
    ]
    return Table(
        id="pools",
        title=pgettext("gateway", "Pools"),
        columns=columns,
        rows=[_pool(one) for one in found],
        empty=pgettext("gateway", "No worker is connected."),
    )


def _pool(one: PoolLoad) -> Row:
    free = max(0, one.capacity - one.held)
    cells = [
        outside(one.pool),
        Cell(words.number(one.workers)),
        Cell(words.number(one.held)),
        Cell(words.number(one.capacity)),
        Cell(words.number(free), tone="" if free else "warning"),
    ]
    return Row(one.pool, cells)


def _workers(found: WorkersReport, viewer: Viewer) -> Table:
    columns = [
        Column("worker", pgettext("gateway", "Worker")),
        Column("pools", pgettext("gateway", "Pools")),
        Column("held", pgettext("gateway", "Held"), number=True),
        Column("since", pgettext("gateway", "Connected for"), number=True),
        Column("node", pgettext("gateway", "Node")),
        Column("from", pgettext("gateway", "From")),
    ]
    note = ""
    if found.total > len(found.workers):
        text = pgettext("gateway", "%(shown)s of %(all)s.")
        note = text % {
            "shown": words.number(len(found.workers)),
            "all": words.number(found.total),
        }
    return Table(
        id="workers",
        title=pgettext("gateway", "Workers"),
        columns=columns,
        rows=[_worker(one, viewer) for one in found.workers],
        empty=pgettext("gateway", "No worker is connected."),
        note=note,
    )


def _worker(one: WorkerReport, viewer: Viewer) -> Row:
    held = pgettext("gateway", "%(held)s of %(capacity)s")
    info = one.session
    href = viewer.session(info.id).href if info else ""
    cells = [
        _holder(one.worker, href),
        outside(" ".join(one.pools), 64),
        Cell(held % {"held": words.number(one.held), "capacity": words.number(one.capacity)}),
        words.since(info.connected_at) if info else Cell("–"),
        outside(one.node, 32),
        address(info.address, info.agent) if info else Cell("–"),
    ]
    return Row(one.worker, cells)


def tasks_table(tasks: Sequence[Task], viewer: Viewer, *, id: str) -> Table:
    """Return a table of tasks; live ones can be ended from it by whoever may."""
    columns = [
        Column("task", pgettext("gateway", "Task")),
        Column("state", pgettext("gateway", "State")),
        Column("pool", pgettext("gateway", "Pool")),
        Column("user", pgettext("gateway", "User")),
        Column("worker", pgettext("gateway", "Worker")),
        Column("since", pgettext("gateway", "Since"), number=True),
        Column("cancel", ""),
        Column("release", ""),
    ]
    return Table(
        id=id,
        columns=columns,
        rows=[_task(one, viewer) for one in tasks],
        empty=pgettext("gateway", "No task."),
    )


def _task(one: Task, viewer: Viewer) -> Row:
    user = viewer.user(one.user) if one.user else Cell("–")
    cells = [
        outside(one.event, 48, below=one.id),
        words.in_words(words.TASKS[one.state], below=visible(one.error)[:80]),
        outside(one.pool, 32),
        user,
        _holder(one.worker),
        words.since(one.ended or one.started or one.created),
        *_ends(one, viewer),
    ]
    return Row(one.id, cells)


def _holder(worker: str, href: str = "") -> Cell:
    name, _, id = worker.rpartition("/")
    return outside(name or id or "–", 48, below=visible(id)[:64] if name else "", href=href)


def _ends(one: Task, viewer: Viewer) -> tuple[Cell, Cell]:
    if one.state.final or not (viewer.may("end_task") and viewer.may("view_worker")):
        return Cell(), Cell()
    cancel = Cell(pgettext("gateway", "Cancel…"), href=viewer.url("worker_cancel", task=one.id))
    if one.state is not TaskState.RUNNING:
        return cancel, Cell()
    href = viewer.url("worker_release", task=one.id)
    return cancel, Cell(pgettext("gateway", "Hand back…"), href=href)


class OfTask(Action):
    """What ends one task. `more`: what is said of that beside the number."""

    permission = "end_task"
    more: ClassVar[str | Promise] = ""

    def subject(self, viewer: Viewer) -> dict[str, list[str]]:
        return {"task": [one_of(viewer.request, "task")]}

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        task = source.task(subject["task"][0])
        if task is None:
            raise Http404("there is no such task")
        if task.state.final:
            return Affected(pgettext("gateway", "This task has ended already."))
        viewer.know([task.user] if task.user else [])
        things = [outside(task.event, below=task.id)]
        if task.worker:
            things.append(outside(task.worker, below=pgettext("gateway", "holds it")))
        if task.user:
            things.append(viewer.user(task.user))
        told = f"{pgettext('gateway', 'This concerns 1 task.')} {self.more}".strip()
        return Affected(told, things)

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        return viewer.url("worker_changelist")


class CancelTask(OfTask):
    """Its worker is asked to stop."""

    name = "cancel"
    title = pgettext_lazy("gateway", "Cancel a task")
    button = pgettext_lazy("gateway", "Cancel the task")
    entry = "Cancelled by an operator"

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (id,) = subject["task"]
        return _done(
            id,
            source.cancel_task(id),
            pgettext("gateway", "The task is cancelled; its worker is asked to stop."),
            pgettext("gateway", "The task had ended already, or never was."),
        )


class ReleaseTask(OfTask):
    """It ends as if its worker had handed it back."""

    more = pgettext_lazy(
        "gateway",
        "It ends as handed back, and is offered to no other worker by itself: whoever gave it "
        "hears of it, and may give it again.",
    )

    name = "release"
    title = pgettext_lazy("gateway", "Hand a task back")
    button = pgettext_lazy("gateway", "Hand it back")
    entry = "Handed back by an operator"

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (id,) = subject["task"]
        return _done(
            id,
            source.release_task(id) is not None,
            pgettext("gateway", "The task is handed back: who gave it hears of it."),
            pgettext("gateway", "No worker runs this task: nothing was handed back."),
        )


def _done(id: str, done: bool, text: str, otherwise: str) -> Done:
    if done:
        return Done([(messages.SUCCESS, text)], [Worker(id=id)], {"done": True})
    return Done([(messages.WARNING, otherwise)], details={"done": False})
