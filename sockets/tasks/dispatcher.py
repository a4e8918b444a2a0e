"""The walk of a task: offered to one worker after another until one accepts; watched until it ends.

The records decide (`base.py`); what goes between nodes here are messages that only make it quick:

    assigning node                            the worker's node
    assign ── task.offer ───────────────────► its outbox: `task`
           ◄─ task.verdict ─────────────────  `accept`, `reject`, or its socket is gone
    cancel, lost ── task.stop ──────────────► its outbox: `task.cancel`
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from msgspec import Raw

from sockets.base import metrics
from sockets.base.arguments import require_user_id
from sockets.base.ids import new_id
from sockets.conf import Conf
from sockets.delivery import encode_json, require_event
from sockets.delivery.hub import Hub
from sockets.exceptions import (
    GatewayUnavailable,
    InvalidMessage,
    NoWorkerAvailable,
    TaskIdTaken,
)
from sockets.layers.fanout import Message
from sockets.protocol.codec import encode, from_json, to_json
from sockets.protocol.frames import Frame
from sockets.protocol.messages import OfferedTask, TaskCancel
from sockets.protocol.outbox import Write
from sockets.protocol.values import MAX_DEPTH, is_deep
from sockets.tasks.announcer import Announcer, TellNode
from sockets.tasks.arguments import require_pool, require_timeout
from sockets.tasks.base import Offer, Seat, Seated, TaskRecords
from sockets.tasks.repetition import is_repetition, request_hash
from sockets.types import PoolLoad, Task, TaskState

logger = logging.getLogger(__name__)

_ROUND_A_RESULT = 512
"""Bytes of a `task.done` message that are not the result."""


class Dispatcher:
    """Tasks in, workers out. Belongs to the node's event loop."""

    def __init__(
        self,
        *,
        conf: Conf,
        records: TaskRecords,
        hub: Hub,
        announcer: Announcer,
        tell_node: TellNode,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._conf = conf
        self._node = conf.node_name
        self._records = records
        self._hub = hub
        self._announcer = announcer
        self._tell_node = tell_node
        self._spawn = spawn
        self._clock = clock
        self._seats: dict[str, Seat] = {}  # of this node, by session
        self._verdicts: dict[str, asyncio.Future[bool]] = {}  # by offer

    # --- for the backend

    async def assign(
        self,
        pool: str,
        event: str,
        data: object,
        *,
        user_id: str | None = None,
        progress_to_user: bool = True,
        timeout: float | None = None,
        id: str | None = None,
    ) -> Task:
        """Find a worker that takes the task; returns it as it is then (running, or ended already).

        `id`: if there is a task that was asked for in the same way, it is returned. Raises
        TaskIdTaken, NoWorkerAvailable, InvalidMessage, MessageTooLarge, GatewayUnavailable.
        """
        pool = require_pool(pool)
        event = require_event(event)
        if user_id is not None:
            user_id = require_user_id(user_id)
        require_timeout(timeout)
        encoded = encode_json(data, self._conf.max_message_size)
        task = Task(
            id=id or new_id(),
            pool=pool,
            event=event,
            node=self._node,
            timeout=self._conf.task_timeout if timeout is None else float(timeout),
            created=self._clock(),
            user=user_id,
            progress_to_user=bool(progress_to_user),
            request=request_hash(
                pool=pool,
                event=event,
                user=user_id,
                progress_to_user=bool(progress_to_user),
                timeout=timeout,
                data=encoded,
            ),
        )
        if id is not None and (known := await self._known(task)) is not None:
            return known
        try:
            return await self._assign(task, encoded)
        except (asyncio.CancelledError, GatewayUnavailable):
            # Whoever asked will never know that it runs.
            self._spawn(self._abandon(task))
            raise

    async def _known(self, asked: Task) -> Task | None:
        """Return the task that a repeated call asks for. Raises TaskIdTaken, GatewayUnavailable."""
        known = await self._records.get(asked.id)
        if known is not None and not is_repetition(asked, known):
            raise TaskIdTaken
        return known

    async def _assign(self, task: Task, data: bytes) -> Task:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._conf.task_assign_timeout
        asked: set[str] = set()
        while loop.time() < until:
            offer = await self._records.offer(task, asked)
            if offer is None:
                break
            asked.add(offer.seat.worker)
            if await self._lay_before(offer, data):
                if (taken := await self._known(task)) is not None:
                    return taken
                break
        # Not dropped: it has ended meanwhile, or only the answer was lost.
        if not await self._records.drop(task) and (known := await self._known(task)) is not None:
            return known
        metrics.offers["unassigned"].inc()
        raise NoWorkerAvailable(task.pool, await self._records.pools(), len(asked))

    async def _lay_before(self, offer: Offer, data: bytes) -> bool:
        """Offer the task to one worker. Returns whether it is taken; else the next may be asked."""
        task = offer.task
        frame = OfferedTask(
            task.id, offer.id, task.pool, task.user, task.event, Raw(data), task.timeout
        )
        verdict = asyncio.get_running_loop().create_future()
        self._verdicts[offer.id] = verdict
        outcome = "gone"
        try:
            await self._tell_node(
                offer.seat.node,
                type="task.offer",
                session=offer.seat.session,
                offer=offer.id,
                node=task.node,
                text=to_json(frame),
            )
            async with asyncio.timeout(self._conf.task_accept_timeout):
                if await verdict:
                    return True
        except TimeoutError:
            outcome = "timeout"
        finally:
            del self._verdicts[offer.id]
        # The records have the last word: a verdict may be lost, or come this moment.
        if await self._records.withdraw(task.id, offer.id) is not None:
            metrics.offers[outcome].inc()
            return False
        current = await self._records.get(task.id)
        return current is None or current.state is not TaskState.OFFERED

    async def cancel(self, task_id: str) -> bool:
        """End a live task as cancelled and tell its worker to stop; False if it is not live."""
        task = await self._records.end(task_id, TaskState.CANCELLED)
        if task is None:
            return False
        self._announcer.ended(task)
        await self._announcer.space()
        return True

    async def hand_back(self, task_id: str, error: str) -> Task | None:
        """End a running task as released, as its worker does that hands it back, and tell the
        worker to stop. Returns it so; None if it does not run."""
        known = await self._records.get(task_id)
        if known is None or known.state is not TaskState.RUNNING:
            return None
        worker = known.worker
        task = await self._records.end(task_id, TaskState.RELEASED, worker=worker, error=error)
        if task is None:
            return None
        try:
            await self._announcer.stop_worker(task)
        except GatewayUnavailable as unavailable:
            logger.warning("the worker of task %s is not told to stop: %s", task.id, unavailable)
        self._announcer.ended(task)
        await self._announcer.space()
        return task

    async def seated(self, workers: int, tasks: int) -> tuple[list[Seated], int]:
        """Return the first workers by name with so many tasks, and how many workers there are."""
        return await self._records.seated(workers, tasks)

    async def newest_ends(self, count: int) -> list[Task]:
        """Return the tasks that ended last, the last one first, without their results."""
        return await self._records.newest_ends(count)

    async def _abandon(self, task: Task) -> None:
        try:
            if await self._records.drop(task):
                return
            known = await self._records.get(task.id)
            if known is not None and is_repetition(task, known):
                await self.cancel(task.id)
        except GatewayUnavailable as error:
            logger.warning(
                "task %s could not be taken back: %s; it ends by its deadlines", task.id, error
            )

    async def get(self, task_id: str) -> Task | None:
        """Return a task; None if it never was, or ended too long ago."""
        return await self._records.get(task_id)

    async def pools(self) -> list[PoolLoad]:
        """Return every pool with a live worker."""
        return await self._records.pools()

    # --- for the workers

    def rename(self, node: str) -> None:
        """Take another name for this node; its workers' seats have it with their next renewal."""
        self._node = node
        self._seats = {id: replace(seat, node=node) for id, seat in self._seats.items()}

    async def worker_joined(self, seat: Seat) -> list[Task]:
        """Offer tasks to a worker, whose socket is open. Returns those that it still holds."""
        self._seats[seat.session] = seat
        return await self._records.take_seat(seat)

    async def worker_left(self, worker: str, session: str) -> None:
        """Offer nothing to a worker whose socket is gone; what it was offered goes to the next.

        Idempotent.
        """
        self._seats.pop(session, None)
        for offer in await self._records.leave_seat(worker, session):
            metrics.offers["gone"].inc()
            await self._give_verdict(offer.task.node, offer.id, accepted=False)

    async def renew(self) -> None:
        """Renew the seats of this node's workers."""
        if self._seats:
            await self._records.renew_seats(list(self._seats.values()))

    async def accept(self, worker: str, task_id: str, offer_id: str) -> bool:
        """Give an offered task to its worker. Returns whether the worker may begin."""
        task = await self._records.accept(task_id, offer_id, worker)
        if task is None:
            return False
        metrics.offers["accepted"].inc()
        await self._give_verdict(task.node, offer_id, accepted=True)
        return True

    async def reject(self, worker: str, task_id: str, offer_id: str) -> bool:
        """Take an offer back for its worker. Returns whether the offer stood, with this worker."""
        task = await self._records.get(task_id)
        if task is None or task.worker != worker:
            return False
        task = await self._records.withdraw(task_id, offer_id)
        if task is None:
            return False
        metrics.offers["rejected"].inc()
        await self._give_verdict(task.node, offer_id, accepted=False)
        return True

    async def progress(self, worker: str, task_id: str, data: Raw | None) -> bool:
        """Note a sign of life, and tell the user `data`, if there is any. Returns whether the
        worker still holds the task.

        Raises as `Notifier.send` does.
        """
        task = await self._records.extend(task_id, worker)
        if task is None:
            return False
        if task.progress_to_user and data is not None:
            await self._announcer.notify_user(task, "task.progress", data=data)
            now = await self._records.get(task_id)
            if now is not None and now.state.final:
                # It ended meanwhile (cancelled, lost), and this replaced the message of its end.
                await self._announcer.announce_to_user(now)
        return True

    async def end(
        self,
        worker: str,
        task_id: str,
        state: TaskState,
        *,
        result: Raw | None = None,
        error: str = "",
    ) -> bool:
        """End a task for its worker. True for a repetition too, because a reply may be lost.

        Raises BadFrame, InvalidMessage, MessageTooLarge.
        """
        decoded = None
        if result is not None:
            decoded = from_json(result)
            if is_deep(decoded):
                raise InvalidMessage(f"a result is nested at most {MAX_DEPTH} deep")
            # Measured as it will be written: 1e15 has four characters, 1000000000000000.0 more.
            encode_json(decoded, self._conf.max_message_size - _ROUND_A_RESULT)
        task = await self._records.end(task_id, state, worker=worker, result=decoded, error=error)
        if task is None:
            known = await self._records.get(task_id)
            return known is not None and known.state is state and known.worker == worker
        self._announcer.ended(task)
        await self._announcer.space()
        return True

    # --- the clock's, and the node's

    async def watch(self) -> None:
        """Run for ever: end what is overdue. A failed round is logged and the next one follows."""
        conf = self._conf
        shortest = min(conf.task_accept_timeout, conf.task_grace, conf.task_timeout)
        interval = max(0.02, min(1.0, shortest / 5))
        while True:
            await asyncio.sleep(interval)
            try:
                for task in await self._records.overdue():
                    self._announcer.ended(task)
                await self._announcer.space()
            except GatewayUnavailable:
                continue  # the renewal logs that, once
            except Exception:
                logger.exception("looking for lost tasks failed; again in %g s", interval)

    async def close(self, grace: float) -> None:
        """Stop with the node: tasks that cannot outlive it are lost, and that is announced."""
        for task in await self._records.close():
            self._announcer.ended(task)
        await self._announcer.finish(grace)

    def on_node_message(self, message: Message) -> None:
        """Take in a `task.…` message to this node, from itself or another."""
        match message["type"]:
            case "task.offer":
                if not self._write(message["session"], Frame(message["text"])):
                    # Nobody waits for the time-out of a worker that is gone, or does not read.
                    node, offer = message["node"], message["offer"]
                    self._spawn(self._give_verdict(node, offer, accepted=False))
            case "task.verdict":
                verdict = self._verdicts.get(message["offer"])
                if verdict is not None and not verdict.done():
                    verdict.set_result(message["accepted"])
            case "task.stop":
                session = self._hub.get(message["session"])
                if session is not None and message["task"] not in session.hidden_tasks:
                    self._write(
                        session.info.id, encode(TaskCancel(message["task"], message["reason"]))
                    )
            case other:
                raise ValueError(f"type {other!r} is not for a node")

    # --- inside

    def _write(self, session_id: str, frame: Frame) -> bool:
        session = self._hub.get(session_id)
        if session is None or session.close_code is not None:
            return False
        return session.write(frame) is Write.OK

    async def _give_verdict(self, node: str, offer_id: str, *, accepted: bool) -> None:
        await self._tell_node(node, type="task.verdict", offer=offer_id, accepted=accepted)
