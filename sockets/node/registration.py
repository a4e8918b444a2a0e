"""This node among the others: its lives, and what it publishes about itself."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sockets import __version__
from sockets.base.ids import new_id
from sockets.cluster.bus import Bus
from sockets.cluster.registry import Beat, Nodes
from sockets.conf import Conf
from sockets.delivery.hub import Hub
from sockets.exceptions import AlreadyRunning
from sockets.node.core import Addresses
from sockets.sessions.tracker import PresenceTracker
from sockets.types import Kind, NodeInfo

logger = logging.getLogger(__name__)

WHO_TIMEOUT = 1.0
"""Seconds that a node of our own name gets to answer that it lives."""

MARK = "~"
"""Between a node's name and four characters, where it had to take another name."""

_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Registration:
    """Belongs to the node's event loop. Methods may raise GatewayUnavailable.

    `state`: "ready", or why not. `reborn`: called when others had taken this node for dead.
    `heard`: called with the store's time, and when this node asked for it by its own clock.
    `renamed`: awaited when the node takes another name, before the others see it; may raise, and is
    repeated.
    """

    def __init__(
        self,
        *,
        conf: Conf,
        nodes: Nodes,
        bus: Bus,
        hub: Hub,
        tracker: PresenceTracker,
        addresses: Addresses,
        state: Callable[[], str],
        reborn: Callable[[], None],
        heard: Callable[[float, float], None] = lambda now, asked: None,
        renamed: Callable[[str], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conf = conf
        self._nodes = nodes
        self._bus = bus
        self._hub = hub
        self._tracker = tracker
        self._addresses = addresses
        self._state = state
        self._reborn = reborn
        self._heard = heard
        self._renamed = renamed or _nobody_cares
        self._clock = clock
        self.name = conf.node_name
        self._started = time.time()
        self._beaten = clock()
        self._cpu = (clock(), time.process_time())
        self.life = f"{self.name}:{new_id()}"
        self._began = self._over = False
        self._taken_for_dead = False  # until the next life is complete
        self._former: list[tuple[str, float]] = []  # lives of before, and until when they get calls
        self._step = asyncio.Lock()  # two steps of one life at a time would be two lives

    async def begin(self) -> None:
        """Register this process. Raises AlreadyRunning where another one has its name."""
        async with self._step:
            await self._enter()

    async def _enter(self) -> None:
        others = await self._namesakes()
        if others and await self._bus.ask(
            [self.name], timeout=WHO_TIMEOUT, type="node.who", life=self.life
        ):
            one = others[0]
            raise AlreadyRunning(
                f"process {one.pid} on {one.host or 'another machine'} already runs as node "
                f"{one.name!r}: stop it, or give this one a NODE_NAME of its own"
            )
        await self._begin()

    async def beat(self) -> None:
        """This node still lives; one that was taken for dead begins anew. Nothing after `end`."""
        async with self._step:
            if self._over:
                return
            if not self._began:
                await self._enter()
                return
            if not self._taken_for_dead:
                if await self._go_on():
                    return
                self._taken_for_dead = True
                self._former.append((self.life, self._clock() + self._conf.lease_ttl))
                self.life = f"{self.name}:{new_id()}"
                self._tracker.taken_for_dead()
            if await self._namesakes():
                await self._take_another_name()
            await self._begin()
            self._taken_for_dead = False
            self._reborn()

    async def _namesakes(self) -> list[NodeInfo]:
        """Other lives of this node's name that run."""
        return [
            info
            for info in await self._nodes.all()
            if info.name == self.name and info.id != self.life
        ]

    async def _take_another_name(self) -> None:
        """A successor came while this process was frozen or cut off, and both go on."""
        before = self.name
        name = f"{self._conf.node_name}{MARK}{_four_characters()}"
        await self._renamed(name)
        self.name, self.life = name, f"{name}:{new_id()}"
        logger.warning(
            "another process has become node %s meanwhile: this one keeps its sessions and is "
            "node %s from now on",
            before,
            name,
        )

    async def _go_on(self) -> bool:
        """False: this life is over."""
        silent = self._clock() - self._beaten
        beat = await self._beat(begin=False, silent=silent)
        if not beat.alive:
            logger.warning(
                "after %.0f s without a sign of life this node was taken for dead, or Redis forgot "
                "it: it registers all sessions anew",
                silent,
            )
            return False
        self._beaten = self._clock()
        self._tracker.beat_succeeded(beat.warm)
        await self._tracker.check()
        await self._leave_former()
        return True

    async def _leave_former(self) -> None:
        """Leave former lives to the others: what still arrived in their names after they had been
        cleared up must be finished too. Not before the last call of each has ended."""
        for life, until in tuple(self._former):
            if self._clock() >= until:
                await self._nodes.leave(life)
                self._former.remove((life, until))

    async def _begin(self) -> None:
        """May be repeated: the answer of an attempt that succeeded may have been lost."""
        silent = self._clock() - self._beaten
        beat = await self._beat(begin=True, silent=silent)
        self._began = True
        self._beaten = self._clock()
        self._tracker.beat_succeeded(beat.warm)
        await self._tracker.begin(self.life)

    async def _beat(self, *, begin: bool, silent: float) -> Beat:
        asked = self._clock()
        beat = await self._nodes.beat(self.describe(), begin=begin, silent=silent)
        if beat.now is not None:
            self._heard(beat.now, asked)
        return beat

    async def end(self) -> None:
        """End the lives of this node in good order."""
        self._over = True
        async with self._step:
            if self._began:
                self._began = False
                await self._nodes.beat(self.describe("stopped"), begin=False, silent=0.0)
                for life in (self.life, *(former for former, _ in self._former)):
                    await self._nodes.leave(life)

    def describe(self, state: str | None = None) -> NodeInfo:
        """Return this node as the others see it."""
        return NodeInfo(
            id=self.life,
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=__version__,
            started_at=self._started,
            state=state or self._state(),
            clients=self._hub.count(Kind.CLIENT),
            workers=self._hub.count(Kind.WORKER),
            users=self._tracker.users,
            cpu=self._cpu_share(),
            memory=_resident(),
            client_url=self._addresses.client_socket_url,
            worker_url=self._addresses.worker_socket_url,
            operations=True,
        )

    def _cpu_share(self) -> float:
        """The share of one core that was used since the last call."""
        wall, cpu = self._clock(), time.process_time()
        wall_before, cpu_before = self._cpu
        self._cpu = (wall, cpu)
        return round(max(0.0, cpu - cpu_before) / max(0.001, wall - wall_before), 3)


def _four_characters() -> str:
    return "".join(secrets.choice(_CHARACTERS) for _ in range(4))


async def _nobody_cares(name: str) -> None:
    """Nothing else bears the node's name."""


def _resident() -> int:
    """Bytes of memory in use; the peak where the system does not show the present."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
