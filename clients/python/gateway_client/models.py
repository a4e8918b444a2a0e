"""What the gateway answers, as plain values. Times are seconds since the Unix epoch.

Members that this version does not know are skipped, and states are strings: a newer gateway may
say more than is written here.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct

UserId = str | int
"""An integer is its decimal digits: `42` and `"42"` are one user."""


class Position(Struct, frozen=True):
    """A place in a user's stream, after the message at `offset`."""

    epoch: str
    offset: int


class Notification(Struct, frozen=True, kw_only=True):
    """One message of a batch, with its user and its options (those of `notify_user`)."""

    user: UserId
    event: str
    data: Any = None
    durable: bool = True
    ttl: float | None = None
    collapse_key: str | None = None
    idempotency_key: str | None = None
    exclude_client: str | None = None


class Receipt(Struct, frozen=True):
    """What became of a notification.

    `epoch` and `offset`: its place in the stream, None for an ephemeral one. `duplicate`: the
    idempotency key was seen before, and this is the first call's receipt. `reach`: how many
    sessions of the user were live; None for a key without the scope `presence`.
    """

    id: str
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool = False
    reach: int | None = None


class Session(Struct, frozen=True):
    """One live socket. `kind`: "client" or "worker"; `acked`: what it says it has processed."""

    id: str
    kind: str
    user: str
    client_id: str
    node: str
    connected_at: float
    seen_at: float | None = None
    address: str = ""
    agent: str = ""
    acked: Position | None = None
    acked_at: float | None = None
    sid: str = ""
    info: Any = None


class Presence(Struct, frozen=True):
    """One user at one moment.

    `state`: "connected", "in_grace", "offline" or "unknown". `sessions`: the newest 100, newest
    first; `more`: there are others.
    """

    state: str
    online: bool
    last_seen: float | None = None
    sessions: tuple[Session, ...] = ()
    more: bool = False


class StoredMessage(Struct, frozen=True):
    """A durable message as its stream keeps it.

    `data` needs a key with the scope `messages`; for one with `presence` alone it is
    `msgspec.UNSET`. `size`: bytes of the message's JSON; 0 of a gateway that does not say.
    """

    offset: int
    id: str
    event: str
    data: Any = UNSET
    time: float = 0.0
    size: int = 0


class Page(Struct, frozen=True):
    """Some of a stream. `head`: the offset of the newest message; `next`: that of the next page.

    `complete` False: messages after the position that was asked for are gone.
    """

    epoch: str
    head: int
    complete: bool
    messages: tuple[StoredMessage, ...]
    next: int | None = None


class SessionDelivery(Struct, frozen=True):
    """What became of one message at one session.

    `outcome`: "sent", "pending", "excluded" or "unknown". `acked_at`: when the client said that it
    has processed it; None: it has not.
    """

    session: str
    client_id: str
    node: str
    outcome: str
    sent_at: float | None = None
    acked_at: float | None = None


class Disconnected(Struct, frozen=True):
    """How many sockets are closed, and of how many the node did not confirm that in time."""

    closed: int
    unconfirmed: int = 0


class PoolLoad(Struct, frozen=True):
    """How full a pool of workers is."""

    pool: str
    workers: int
    capacity: int
    held: int


class AssignedTask(Struct, frozen=True):
    """A task at one moment.

    `state`: "offered", "running", or how it ended: "done", "failed", "released", "lost",
    "cancelled". `result`: what the worker returned; `error`: why it failed or was handed back.
    """

    id: str
    pool: str
    event: str
    state: str
    worker: str
    created: float
    user: str | None = None
    started: float | None = None
    ended: float | None = None
    result: Any = None
    error: str = ""


class Node(Struct, frozen=True):
    """One gateway process, as it last described itself."""

    name: str
    state: str
    host: str
    pid: int
    version: str
    started_at: float
    seen_at: float
    clients: int = 0
    workers: int = 0
    users: int = 0
    cpu: float = 0.0
    memory: int = 0
    client_url: str = ""
    worker_url: str = ""


class WrongMember(Struct, frozen=True):
    """One thing that is wrong with a request: its place, as `body.messages.1.user`, and why."""

    where: str
    message: str
