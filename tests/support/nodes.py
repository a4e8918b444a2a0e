"""Several nodes on one store, without servers: their trackers, and what they announce."""

from __future__ import annotations

from typing import Any

from sockets.base.ids import new_id
from sockets.cluster.registry_redis import NodeCalls, RedisNodes
from sockets.node.reaper import Reaper
from sockets.presence.base import Limit
from sockets.presence.redis import RedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys
from sockets.sessions.handover import Handover
from sockets.sessions.tracker import PresenceTracker
from sockets.types import Kind, PresenceChange, SessionInfo
from tests.support.doubles import MovedClock, begin_life, node_info

LEASE, GRACE = 30.0, 10.0


class NotingEvents:
    """Stands for `Events`: notes what is announced, at once or, while it is `held`, never."""

    def __init__(self) -> None:
        self.announced: list[str] = []
        self.waiting: list[Any] = []
        self.held = False
        self.changes_wanted = True

    def changed(self, change: PresenceChange, done: Any) -> None:
        if self.held:
            self.waiting.append((change, done))
            return
        self.announced.append(f"{'+' if change.online else '-'}{change.user}")
        done(True)

    def closed(self, session: SessionInfo, code: int, reason: str) -> None:
        self.announced.append(f"{code} {session.user}")


class Cluster:
    """A store, and nodes on it; `clock` is everybody's."""

    def __init__(self, client: Any, clock: MovedClock) -> None:
        namespace = f"t{new_id()}"
        keys = Keys(namespace)
        self._client, self._namespace = client, namespace
        self.clock = clock
        calls = PresenceCalls(keys, lease=LEASE, grace=GRACE, limit=Limit(), clock=clock)
        node_calls = NodeCalls(keys, lease=LEASE, warmup=LEASE + GRACE, clock=clock)
        self.nodes = RedisNodes(client, node_calls)
        self.presence = RedisPresence(client, calls, warm=self.nodes.warm)
        self.events: dict[str, NotingEvents] = {}

    async def node(self, name: str) -> PresenceTracker:
        self.events[name] = NotingEvents()
        made = PresenceTracker(
            presence=self.presence,
            nodes=self.nodes,
            events=self.events[name],  # type: ignore[arg-type]
            lease=LEASE,
            clock=self.clock,
        )
        await begin_life(self.nodes, node_info(name))
        await made.begin(f"{name}:1")
        made.beat_succeeded(0.0)
        return made

    async def beat(self, name: str, tracker: PresenceTracker) -> None:
        await begin_life(self.nodes, node_info(name))
        tracker.beat_succeeded(0.0)

    async def pass_time(self, seconds: float, **alive: PresenceTracker) -> None:
        """So long, while these nodes live."""
        while seconds > 0:
            self.clock.advance(step := min(seconds, LEASE / 3))
            seconds -= step
            for name, tracker in alive.items():
                await self.beat(name, tracker)

    async def forget_users(self) -> None:
        """Lose what the store knows of users: a flush, as presence meets it."""
        async for key in self._client.scan_iter(match=f"{self._namespace}:{{*}}:*"):
            if not key.startswith(f"{self._namespace}:{{{self._namespace}:".encode()):
                await self._client.delete(key)

    async def users_of(self, name: str) -> set[str]:
        return set(await self.nodes.users_of(f"{name}:1", Kind.CLIENT, 100))

    def reaper(self, tracker: PresenceTracker, buried: Any = None) -> Reaper:
        return Reaper(
            nodes=self.nodes,
            tracker=tracker,
            handover=Handover(
                presence=self.presence,
                nodes=self.nodes,
                events=self.events[tracker.life.partition(":")[0]],  # type: ignore[arg-type]
                tracker=tracker,
            ),
            lease=LEASE,
            buried=buried or (lambda info, at: None),
        )
