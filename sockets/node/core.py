"""What every process of the gateway has: a node that holds sockets, one that only asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Self

from sockets.base.clock import StoreClock
from sockets.base.timetable import Timetable
from sockets.cluster.bus import Bus
from sockets.conf import Conf
from sockets.delivery import Notifier
from sockets.delivery.hub import Hub
from sockets.events.receivers import Receivers
from sockets.exceptions import GatewayUnavailable
from sockets.node.backends import backends
from sockets.node.heartbeat import tick_interval
from sockets.node.state import Backends
from sockets.operations.operations import Operations
from sockets.sessions.control import Control
from sockets.sessions.forgetting import Forgetting
from sockets.sessions.inquiry import Inquiry
from sockets.tasks.announcer import Announcer
from sockets.tasks.dispatcher import Dispatcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where browsers and workers are told to connect."""

    client_socket_url: str
    worker_socket_url: str

    @classmethod
    def of(cls, conf: Conf, client_port: int | None = None, worker_port: int | None = None) -> Self:
        """Take them from the settings, else from this machine and the real ports."""
        return cls(
            conf.client_socket_url or f"ws://localhost:{client_port or conf.client_port}",
            conf.worker_socket_url or f"ws://localhost:{worker_port or conf.worker_port}",
        )


class Core:
    """State, and who acts on it. Belongs to the loop that it is made on.

    `name` is what other processes call this one: `conf.node_name`, until it has to take another.
    `state` None: what the settings choose. `clock`: monotonic seconds. `wall`: seconds since the
    epoch. `executor`: runs Django's receivers, in place of threads of their own. `client_port`,
    `worker_port`: what is really listened on.
    """

    def __init__(
        self,
        conf: Conf,
        *,
        state: Backends | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        executor: Executor | None = None,
        client_port: int | None = None,
        worker_port: int | None = None,
    ) -> None:
        self.conf = conf
        self.addresses = Addresses.of(conf, client_port, worker_port)
        self.name = conf.node_name
        self.loop = asyncio.get_running_loop()
        self.store_time = StoreClock(clock, wall)
        self.receivers = Receivers(conf, executor)
        self.state = state or backends(conf)
        self.layer = self.state.layer
        self.streams = self.state.streams
        self.presence = self.state.presence
        self.nodes = self.state.nodes
        self.tasks = self.state.tasks
        self.ledger = self.state.ledger
        self.hub = Hub(self.layer, Timetable(tick_interval(conf), clock, wall))
        self.bus = Bus(self.layer, self.name)
        self.control = Control(
            presence=self.presence,
            nodes=self.nodes,
            bus=self.bus,
            close_timeout=conf.close_timeout,
        )
        self.inquiry = Inquiry(
            presence=self.presence,
            streams=self.streams,
            ledger=self.ledger,
            control=self.control,
            now=self.presence.now,
        )
        self.forgetting = Forgetting(
            presence=self.presence,
            streams=self.streams,
            ledger=self.ledger,
            control=self.control,
            clear=lambda user: self.operations.forget(user),
            settling=2 * conf.recorder_interval if conf.history else 0.0,
        )
        self.notifier = Notifier(
            conf=conf,
            layer=self.layer,
            streams=self.streams,
            presence=self.presence,
            clock=wall,
        )
        self.announcer = Announcer(
            records=self.tasks,
            notifier=self.notifier,
            receivers=self.receivers.tasks,
            tell_node=self.bus.tell,
        )
        self.dispatcher = Dispatcher(
            conf=conf,
            records=self.tasks,
            hub=self.hub,
            announcer=self.announcer,
            tell_node=self.bus.tell,
            spawn=self.spawn,
            clock=self.store_time,
        )
        self.operations = Operations(
            conf=conf,
            nodes=self.nodes,
            bus=self.bus,
            presence=self.presence,
            streams=self.streams,
            dispatcher=self.dispatcher,
            clock=self.store_time,
            monotonic=clock,
        )
        self.bus.handlers["task"] = self.dispatcher.on_node_message
        self._spawned: set[asyncio.Task[None]] = set()

    async def rename(self, name: str) -> None:
        """Change the name by which other processes know this one. May be repeated.

        Raises GatewayUnavailable.
        """
        await self.bus.rename(name)
        self.dispatcher.rename(name)
        self.name = name

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task. It is kept, logged when it fails, and cancelled at the stop."""
        task = self.loop.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._spawned.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a task of %s failed: %s", self.name, error, exc_info=error)

    async def stop(self, timeout: float) -> None:
        """End what `spawn` started, and close the state. `timeout`: seconds for each."""
        tasks = tuple(self._spawned)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                await self.bus.stop()
                await self.state.close()
        except (TimeoutError, GatewayUnavailable) as error:
            logger.warning("the state store was not left in order: %s", str(error) or "too slow")
        self.receivers.close()
