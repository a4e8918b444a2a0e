"""What a node is made of, put together; `node.py` gives it its life.

Tests take the same parts, with a state in memory, a clock that they move and a recorder without a
database: what they prove of the composition holds for every node.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from weakref import WeakValueDictionary

from sockets.auth.admission import Admission
from sockets.auth.clients import ClientAuth
from sockets.auth.keyring import KeyRing
from sockets.base import metrics
from sockets.base.database import tidy_connections
from sockets.base.rate import Bucket
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.delivery import Delivery
from sockets.events.feed import Events
from sockets.events.webhooks import Webhooks
from sockets.layers.groups import user_group
from sockets.node.core import Core
from sockets.node.inbox import Requests, stop_this_process
from sockets.node.lock import NodeLock
from sockets.node.readiness import PromiseWatch, Readiness
from sockets.node.reaper import Reaper
from sockets.node.registration import Registration
from sockets.node.renewal import Renewal
from sockets.node.state import Backends
from sockets.operations.local import LocalOperations
from sockets.operations.operations import Here
from sockets.presence.base import PartlyRenewed
from sockets.presence.doubt import Doubt
from sockets.recorder import NoRecorder, Recorder, SessionRecorder
from sockets.recorder.erasing import erase_rows
from sockets.sessions.handover import Handover
from sockets.sessions.lifecycle import Sessions
from sockets.sessions.tracker import PresenceTracker
from sockets.types import Kind, NodeInfo, SessionInfo

WEBHOOK_INTERVAL = 0.2
"""How long events are collected for one call of the API server, in seconds."""


class Parts(Core):
    """Everything that one gateway process holds. Nothing of it runs yet, and nothing is sent.

    `state`, `recorder`, `keys`: None for those that the settings choose. `clock`, `wall`,
    `executor`: as of Core. `lock`: this process' place, if it is held already. `end_process`:
    called when another node asks this one to drain.
    """

    def __init__(
        self,
        conf: Conf,
        *,
        state: Backends | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        recorder: SessionRecorder | None = None,
        keys: KeyRing | None = None,
        executor: Executor | None = None,
        client_port: int | None = None,
        worker_port: int | None = None,
        lock: NodeLock | None = None,
        end_process: Callable[[], None] = stop_this_process,
    ) -> None:
        super().__init__(
            conf,
            state=state,
            clock=clock,
            wall=wall,
            executor=executor,
            client_port=client_port,
            worker_port=worker_port,
        )
        self.client_auth = ClientAuth(conf, self.presence.now)
        self.admission = Admission(conf)
        # Each lives as long as a session of its user.
        self.user_buckets: WeakValueDictionary[str, Bucket] = WeakValueDictionary()
        self.keys = keys or KeyRing(conf)
        self.keys.listen(self._close_those_of_ended_keys)
        self.recorder = recorder or self._recorder()
        self.delivery = Delivery(
            conf=conf,
            streams=self.streams,
            spawn=self.spawn,
            clock=self.store_time,
            wall=wall,
        )
        self.webhooks = _webhooks(conf)
        self.events = Events(
            receivers=self.receivers.presence,
            webhooks=self.webhooks,
            hooked=conf.webhooks,
            clock=self.store_time,
        )
        self.tracker = PresenceTracker(
            presence=self.presence,
            nodes=self.nodes,
            events=self.events,
            lease=conf.lease_ttl,
            store_time=self.store_time if conf.redis_url else None,
            clock=clock,
        )
        self.sessions = Sessions(
            conf=conf,
            hub=self.hub,
            streams=self.streams,
            tracker=self.tracker,
            events=self.events,
            delivery=self.delivery,
            recorder=self.recorder,
            control=self.control,
            dispatcher=self.dispatcher,
            ledger=self.ledger,
            clock=self.store_time,
            steady=clock,
        )
        self.registration = Registration(
            conf=conf,
            nodes=self.nodes,
            bus=self.bus,
            hub=self.hub,
            tracker=self.tracker,
            addresses=self.addresses,
            state=lambda: self.unready_because or "ready",
            reborn=self._reborn,
            heard=self.store_time.heard,
            renamed=self.rename,
            clock=clock,
        )
        self.doubt = Doubt(conf.lease_ttl, self._present, clock)
        self.presence.believe(self.doubt)
        self.renewal = Renewal(conf, self._renew, clock)
        self.readiness = Readiness(
            try_store=self.state.shards,
            connected=lambda: self.layer.connected,
            interval=conf.lease_renew,
            clock=clock,
        )
        self._promises = PromiseWatch(self.state.promises, metrics.show_promise)
        self.reaper = Reaper(
            nodes=self.nodes,
            tracker=self.tracker,
            handover=Handover(
                presence=self.presence,
                nodes=self.nodes,
                events=self.events,
                tracker=self.tracker,
            ),
            lease=conf.lease_ttl,
            buried=self._close_rows_of,
            clock=self.store_time,
        )
        self.requests = Requests(
            bus=self.bus,
            hub=self.hub,
            sessions=self.sessions,
            delivery=self.delivery,
            registration=self.registration,
            close_timeout=conf.close_timeout,
            draining=lambda: self._draining,
            spawn=self.spawn,
            remove_rows=_erase_rows,
            stop=end_process,
        )
        self.local_operations = LocalOperations(
            conf=conf,
            bus=self.bus,
            hub=self.hub,
            clock=self.store_time,
            spawn=self.spawn,
            state=lambda: self.unready_because or "ready",
            redis=lambda: self.readiness.store_trouble,
            database=lambda: self.recorder.trouble,
            webhooks=lambda: self.webhooks.pending if self.webhooks else 0,
        )
        self.bus.handlers["operations"] = self.local_operations.receive
        self.operations.here = Here(
            describe=self.registration.describe,
            condition=self.local_operations.condition,
            cut_off_for=lambda: self.readiness.failing_for,
        )
        self.bus.handlers["node"] = self.bus.handlers["delivery"] = self.requests.receive
        self.layer.add_gap_listener(self.renewal.hurry)
        self._started = self._draining = False
        self._lock = lock or NodeLock(conf)
        metrics.name_node(conf.node_name)
        metrics.READY.set_function(lambda: self.ready)
        metrics.USERS.set_function(self.hub.users)

    def _recorder(self) -> SessionRecorder:
        conf = self.conf
        if not conf.history:
            return NoRecorder()
        return Recorder(
            node=conf.node_name,
            queue_size=conf.recorder_queue,
            interval=conf.recorder_interval,
            keep=conf.session_keep,
            live=self.hub.ids,
            clock=self.store_time,
        )

    @property
    def ready(self) -> bool:
        """Whether it may be sent new clients."""
        return self.unready_because is None

    @property
    def unready_because(self) -> str | None:
        """Why it should be sent no new clients now; None: it is ready."""
        if self._draining:
            return "draining"
        if not self._started:
            return "it is starting or stopping"
        return self.readiness.because

    async def _renew(self, until: Callable[[float], Awaitable[None]]) -> None:
        """One round: this node's own lease, then its sessions'; `until`: as of `Sessions.renew`.
        Raises GatewayUnavailable."""
        with self.doubt.watching():
            try:
                await self.registration.beat()
            finally:  # by then it is known under which name
                self.recorder.node_seen(self.store_time())
            try:
                await self.sessions.renew(until)
            except PartlyRenewed:
                self.readiness.registered()  # those of the shards that take writes
                raise
            self.readiness.registered()

    def _reborn(self) -> None:
        """Others took this node for dead, or the store forgot it."""
        self.renewal.make_haste()
        self.sessions.reopen_rows()

    async def stop(self, timeout: float) -> None:
        """As of Core. The layer may live longer than this node, and calls it no more."""
        self.layer.discard_gap_listener(self.renewal.hurry)
        await super().stop(timeout)

    async def rename(self, name: str) -> None:
        """Change the name of this node: for other processes, in rows and in metrics.

        Raises GatewayUnavailable.
        """
        await super().rename(name)
        self.sessions.rename(name)
        self.recorder.rename(name)
        metrics.name_node(name)

    def _present(self, user: str) -> tuple[SessionInfo, ...]:
        room = self.hub.room(user_group(user))
        return tuple(one.info for one in (room.members if room else ()) if one.present)

    def _close_those_of_ended_keys(self) -> None:
        for session in self.hub:
            id = session.info.jti if session.info.kind is Kind.WORKER else ""
            if id and not self.keys.is_live(id):
                session.close(CloseCode.REVOKED, "this key has ended")

    def _close_rows_of(self, dead: NodeInfo, at: float) -> None:
        self.recorder.node_died(dead.name, started=dead.started_at, at=at)


def _erase_rows(user: str, before: float) -> int:
    tidy_connections()
    try:
        return erase_rows(user, before)
    finally:
        tidy_connections()


def _webhooks(conf: Conf) -> Webhooks | None:
    if not conf.webhooks:
        return None
    return Webhooks(
        url=conf.webhook_url,
        secret=conf.webhook_secret,
        queue_size=conf.webhook_queue,
        interval=WEBHOOK_INTERVAL,
        timeout=conf.webhook_timeout,
    )
