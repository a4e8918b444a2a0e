"""The nouns of the gateway: plain values that every floor may hold and none may change.

Times are seconds since the Unix epoch (float), as `time.time()` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypedDict


class Kind(StrEnum):
    """What a session is; also the database value and the metric label."""

    CLIENT = "client"
    WORKER = "worker"


class Surface(StrEnum):
    """Which side of the house a connection entered by (protocol.md section 1)."""

    PUBLIC = "public"
    PRIVATE = "private"
    BOTH = "both"  # development on a single port; refused in production


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one user's stream, after the message at `offset`.

    `offset` 0 is the very beginning. Positions of different epochs cannot be compared.
    """

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a handshake proved to be.

    `subject` is the user id of a client, the key's name of a worker.
    `expires_at` None: the proof has no end. `issued_at`: by a token's issuer, else by the state
    store, read before anybody was asked: whatever is revoked after that hits it. None: nobody
    knows, and any revocation hits it. `sid`: the id of a login, `jti`: that of a token, "" for
    none; both can be revoked. `info`: JSON that presence shows; `meta`: JSON for server code only.
    `scopes`: what a worker may do. `recheck`: no date says when it ends, so that it is to be asked
    now and then whether it still counts.
    """

    subject: str
    method: str
    expires_at: float | None = None
    issued_at: float | None = None
    sid: str = ""
    jti: str = ""
    info: Any = field(default=None, hash=False)
    meta: Any = field(default=None, hash=False, repr=False)
    scopes: frozenset[str] = frozenset()
    recheck: bool = False


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One live socket, as presence knows it and as the database remembers it.

    `user` is the user id of a client and the worker's name of a worker.
    `client_id` is a ULID: of the tab or device, or of the worker.
    `address` is "host:port" or "" (a Unix socket); `agent` the User-Agent, cut to 256 characters.
    `acked`: the last position that the client says it has processed, `acked_at` when it said so.
    `seen_at`: when its node last renewed its lease; None where nobody asked.
    `sid`, `jti`, `issued_at` and `info` are those of its Credentials.
    """

    id: str
    kind: Kind
    user: str
    client_id: str
    node: str
    connected_at: float
    address: str = ""
    agent: str = ""
    acked: Position | None = None
    acked_at: float | None = None
    seen_at: float | None = field(default=None, compare=False)
    sid: str = ""
    jti: str = ""
    issued_at: float | None = None
    info: Any = field(default=None, hash=False)

    def has_acked(self, epoch: str, offset: int) -> bool:
        """Whether the client has acknowledged this message."""
        acked = self.acked
        return acked is not None and acked.epoch == epoch and acked.offset >= offset


MAX_SHOWN: Final = 100
"""Sessions of one user that one answer holds."""


def newest(infos: Iterable[SessionInfo]) -> list[SessionInfo]:
    """What an answer holds of a user's sessions: the newest MAX_SHOWN, newest first."""
    return sorted(infos, key=lambda info: (info.connected_at, info.id), reverse=True)[:MAX_SHOWN]


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """A place in a walk over all sessions: in a kind of a node's life, after `place`."""

    node: str = ""
    kind: str = ""
    life: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some of the live sessions, oldest first. `next`: the cursor of the rest; None: no more."""

    sessions: list[SessionInfo]
    next: str | None


class PresenceState(StrEnum):
    """Presence of a user."""

    CONNECTED = "connected"
    IN_GRACE = "in_grace"  # gone for less than PRESENCE_GRACE, or the state store was away so long
    OFFLINE = "offline"
    UNKNOWN = "unknown"  # the shard that knows did not answer


@dataclass(frozen=True, slots=True)
class UserPresence:
    """One user at one moment.

    `sessions`: the live client sessions, oldest first. `last_seen`: the last sign of life of any of
    them; None if there was none in the last 30 days, or it is not known.
    """

    user: str
    state: PresenceState
    sessions: tuple[SessionInfo, ...] = ()
    last_seen: float | None = None

    @property
    def online(self) -> bool:
        """Whether a notification would reach a session now."""
        return self.state is PresenceState.CONNECTED


@dataclass(frozen=True, slots=True)
class PresenceAnswer:
    """Many users at one moment.

    `partial`: a shard did not answer in time; its users are `unknown`.
    """

    users: dict[str, UserPresence]

    @property
    def partial(self) -> bool:
        """Whether something is missing."""
        return any(one.state is PresenceState.UNKNOWN for one in self.users.values())


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A user came online or went offline: decided once for all nodes.

    `generation` grows with each change of the user; `at`: when it was decided.
    """

    user: str
    online: bool
    generation: int
    at: float

    @property
    def id(self) -> str:
        """The same however often it is announced."""
        return f"{self.user}:{self.generation}"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What `disconnect_user` did.

    `closed`: sessions whose sockets are gone. `unconfirmed`: those whose node did not say so in
    time; they are out of presence all the same, and their node closes them when it returns.
    """

    closed: int
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One gateway process, as it last described itself.

    `id` is new for each life of its lease. `seen_at`: when it renewed that. `cpu`: share of one
    core since the time before. `memory`: resident, bytes. `state`: "ready", "draining", or why it
    is not ready. `operations`: whether it answers what operators ask.
    """

    id: str
    name: str
    pid: int
    host: str
    version: str
    started_at: float
    state: str
    clients: int = 0
    workers: int = 0
    users: int = 0
    cpu: float = 0.0
    memory: int = 0
    client_url: str = ""
    worker_url: str = ""
    seen_at: float = field(default=0.0, compare=False)
    operations: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable message as its stream keeps it.

    `body` is the JSON object {"id", "event", "data", "time"}, ready for the wire.
    `idempotency_key`: the caller's; None where there is none, or where an earlier version appended.
    """

    offset: int
    body: bytes
    exclude_client: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What a read of a stream found after a position.

    `floor`: the highest offset that retention removed. `entries`: ascending, without what has
    collapsed or expired. `missing`: how many there are after the position, with or without those
    that this page had no space for. `newest`: how the message at `head` begins, b"" if not known.
    """

    epoch: str
    head: int
    floor: int
    entries: tuple[Entry, ...]
    missing: int
    newest: bytes = field(default=b"", repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether the entries reach to `head`."""
        return len(self.entries) == self.missing

    @property
    def end(self) -> int:
        """The offset up to which this page is complete."""
        if self.complete or not self.entries:
            return self.head
        return self.entries[-1].offset


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `notify_user` did.

    `epoch` and `offset` are None for an ephemeral message. `duplicate`: the idempotency key was
    seen before, and this is the first call's receipt. `reach`: the user's live sessions just then.
    """

    id: str
    epoch: str | None
    offset: int | None
    duplicate: bool = False
    reach: int = 0


class NotifyOptions(TypedDict, total=False):
    """The options of `notify_user` and its like, as type checkers see them.

    `durable` (True): kept in the user's stream, so that a session that is away, slow or
    reconnecting gets it later; else only who is connected now gets it. `ttl`: seconds after which
    it is not worth delivering. `collapse_key`: replaces the user's earlier message with the same
    key for whoever has not seen that yet. `idempotency_key`: a repeated call returns the first
    receipt. `exclude_client`: the client id (ULID) that caused this and needs no echo.
    """

    durable: bool
    ttl: float | None
    collapse_key: str | None
    idempotency_key: str | None
    exclude_client: str | None


@dataclass(frozen=True, slots=True)
class Notification:
    """What every way to notify somebody is put into. The options are those of `NotifyOptions`.

    `user_id`: whatever a user id may be (`sockets.api.UserId`); None only where the call itself
    says for whom it is (many users, a broadcast). `data`: whatever has a JSON form.
    """

    user_id: Any
    event: str
    data: Any = None
    durable: bool = True
    ttl: float | None = None
    collapse_key: str | None = None
    idempotency_key: str | None = None
    exclude_client: str | None = None


class Outcome(StrEnum):
    """What became of a durable message for one session."""

    SENT = "sent"
    PENDING = "pending"  # the session has not come so far
    EXCLUDED = "excluded"  # it had caused the message
    UNKNOWN = "unknown"  # too long ago, or before the session began, or its node is silent


@dataclass(frozen=True, slots=True)
class SessionDelivery:
    """One session's part in the delivery of one message.

    `sent_at`: when its node handed it to the socket. `acked_at`: when the client acknowledged this
    message or a later one; None: it has not. `live` False: the newest session of a client that is
    away, of which the ledger knows by when it was sent.
    """

    session: str
    client_id: str
    node: str
    outcome: Outcome
    sent_at: float | None = None
    acked_at: float | None = None
    live: bool = True

    @property
    def acknowledged(self) -> bool:
        """Whether the client says that it has processed the message."""
        return self.acked_at is not None


class TaskState(StrEnum):
    """Where a task is. All but the first two are final: a task reaches exactly one of them."""

    OFFERED = "offered"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # the worker says that it cannot be done
    RELEASED = "released"  # the worker handed it back
    LOST = "lost"  # nobody knows what became of it
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can happen to the task any more."""
        return self not in (TaskState.OFFERED, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work for one worker, as it was at one moment.

    `worker`: "<key name>/<worker id>" of who holds it, or did at its end; "" if nobody.
    `node`: who assigns it. `timeout`: seconds that it may run without a sign of life.
    `result`: what `done` brought, decoded; `error`: what `failed` or `release` said. `request`: a
    hash of what was asked for, by which a repetition is known; "" of a version that kept none.
    """

    id: str
    pool: str
    event: str
    node: str
    timeout: float
    created: float
    user: str | None = None
    progress_to_user: bool = True
    state: TaskState = TaskState.OFFERED
    worker: str = ""
    started: float | None = None
    ended: float | None = None
    result: Any = None
    error: str = ""
    request: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """How full a pool is: its live workers, the tasks they take together, those they hold.

    A worker of several pools counts in each of them.
    """

    pool: str
    workers: int
    capacity: int
    held: int


class Refusal(StrEnum):
    """Why a connection or a request was refused before it was served; the metric's label."""

    ADDRESS_RATE = "address_rate"
    NODE_RATE = "node_rate"
    REQUESTS = "requests"
    SLOW = "slow"
    CROWDED = "crowded"
    HEADER = "header"
    BODY = "body"
    BODY_MEMORY = "body_memory"
    MALFORMED = "malformed"
    IDLE = "idle"
    FILES = "files"
    GONE = "gone"
    LATE = "late"


class Audit(StrEnum):
    """What the audit log remembers."""

    REFUSED = "refused"  # a connection or a request that may not be
    KEY_USED = "key_used"  # a worker or backend proved itself by a key
    KEY_MADE = "key_made"
    KEY_CHANGED = "key_changed"
    KEY_ENDED = "key_ended"
    REVOKED = "revoked"  # what a user had proved does not count any more
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    DISCONNECTED = "disconnected"  # by the application or an operator
    FORGOTTEN = "forgotten"  # what was kept of a user was removed
    DRAINED = "drained"
    TRACED = "traced"  # the frames of a user, by an operator
    SIGNED_IN = "signed_in"  # staff, at the admin
    SIGN_IN_FAILED = "sign_in_failed"
    TASK_CANCELLED = "task_cancelled"
    TASK_RELEASED = "task_released"  # handed back in the place of its worker
    OPERATED = "operated"  # an operator did something in the admin


@dataclass(frozen=True, slots=True)
class Shards:
    """Of how many servers that hold users' keys how many took writes now."""

    total: int = 1
    refusing: int = 0


@dataclass(frozen=True, slots=True)
class Promises:
    """What of the server's set-up breaks a promise of the gateway, by the promise's name.

    `unknown`: what could not be looked at, because the gateway's user lacks the right.
    """

    broken: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
