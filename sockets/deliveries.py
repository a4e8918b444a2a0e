"""What is known of deliveries: the ledger, what it says of a message, why that is not there.

Times are seconds since the Unix epoch (float), by the clock of the state store. The ledger is
written when leases are renewed and when a session ends, so that what it says is true `at` a time,
and never a guess about later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """How far one client of a user has come in the user's stream, as it was at `at`.

    A client is known by the id that it gave itself; all its sessions are one entry. All messages
    of `epoch` after `start` and up to `sent` were handed to a socket of it, but those that it is
    excluded from or that had collapsed or expired by then. `acked`: up to where it says that it
    has processed them, since `acked_at`; None: it has not said so. The other members are of its
    newest session: `began`, the position with which it came (or with which its `welcome` began);
    `head`, the newest message there was then; `recovered`, as of its `welcome`; `node`;
    `opened_at`. `ended_at`, `code`, `reason`: its end; None: it had not ended. `live`: whether that
    session is there now.
    """

    client_id: str
    epoch: str
    start: int
    sent: int
    acked: int | None
    acked_at: float | None
    at: float
    began: int
    head: int
    recovered: bool | None
    session: str
    node: str
    opened_at: float
    ended_at: float | None = None
    code: int | None = None
    reason: str = ""
    live: bool = field(default=False, compare=False)


class Standing(StrEnum):
    """What became of one durable message for one client, as far as anybody knows."""

    ACKNOWLEDGED = "acknowledged"  # by `at`
    SENT = "sent"  # by `at`; not acknowledged as of `as_of`
    RECOVERED = "recovered"  # it came back at `at`, and was sent it then; not acknowledged so far
    NOT_ACKNOWLEDGED = "not_acknowledged"  # as of `at` it was not sent it, or had come without it
    CLAIMED = "claimed"  # it came at `at` with a position after it, and so says that it has it
    REPLACED_OR_EXPIRED = "replaced_or_expired"  # before it was sent
    EXCLUDED = "excluded"  # it had caused the message
    UNKNOWN = "unknown"  # its node is silent or was lost, another epoch, or before it began


@dataclass(frozen=True, slots=True)
class ClientDelivery:
    """What became of one message for one client of its user.

    `at`: the time that belongs to `standing`; None for `excluded`, `unknown` and a message that
    is gone. `as_of`: until when that is known. `live`: whether the client is connected now;
    `session`, `node`: of its newest session. `sent_at`: when its node handed it to the socket,
    where a live node still remembers that.
    """

    client_id: str
    standing: Standing
    at: float | None
    as_of: float | None
    live: bool
    session: str
    node: str
    sent_at: float | None = None


class Fate(StrEnum):
    """Where a message is now."""

    KEPT = "kept"  # in its stream
    TRIMMED = "trimmed"  # retention removed it: only positions are known
    REPLACED = "replaced"  # by a newer one with its collapse key
    EXPIRED = "expired"  # its own ttl is over
    REPLACED_OR_EXPIRED = "replaced_or_expired"  # one of the two; nobody knows which any more
    OTHER_EPOCH = "other_epoch"  # the stream has begun anew since
    NOT_THERE = "not_there"  # no message has had this offset, or nothing kept has this id or key


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """One message of a stream without its data.

    `size`: bytes of its JSON. `at`: when it was appended; None, as all but `epoch`, `offset` and
    `fate`, where it is not kept any more. `expires_at`: the end of its ttl. `replaced_by`: the
    offset of the message that took its place.
    """

    epoch: str
    offset: int | None
    fate: Fate
    id: str = ""
    event: str = ""
    at: float | None = None
    size: int | None = None
    idempotency_key: str = ""
    collapse_key: str = ""
    exclude_client: str = ""
    expires_at: float | None = None
    replaced_by: int | None = None


class StepCode(StrEnum):
    """One step of the story of a message. The `values` of each are named after it."""

    APPENDED = "appended"  # offset, epoch, size, event
    NOT_FOUND = "not_found"  # head
    OTHER_EPOCH = "other_epoch"  # epoch, now: the stream's epoch as it is
    TRIMMED = "trimmed"  # floor: the highest offset that retention removed
    REPLACED = "replaced"  # by: an offset
    EXPIRED = "expired"  # at: when, if it is known
    REPLACED_OR_EXPIRED = "replaced_or_expired"
    NOBODY = "nobody"  # no client of the user is known
    CONNECTED = "connected"  # recovered (true, false, null), began, head: positions
    SENT = "sent"  # sent: up to where; by its time
    RECOVERED = "recovered"  # sent
    ACKNOWLEDGED = "acknowledged"  # acked: up to where; by its time
    NOT_ACKNOWLEDGED = "not_acknowledged"  # sent, acked: up to where; as of its time
    CLAIMED = "claimed"  # began: the position that it came with
    EXCLUDED = "excluded"
    UNKNOWN = "unknown"  # why: epoch, before, lost, silent; sent
    ENDED = "ended"  # code, reason
    LOST = "lost"  # nobody saw the end of its session: its process died, or was cut off
    ONLINE = "online"  # sessions: how many there are now
    AWAY = "away"  # the user is not connected; its time: when last seen


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `at`: when; None: not known, or as it is now.

    `client_id`, `session`, `node`: of whom it tells; "" where it is of the message or the user.
    """

    code: StepCode
    at: float | None = None
    client_id: str = ""
    session: str = ""
    node: str = ""
    values: Mapping[str, str | int | float | bool | None] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message was, or was not, delivered to the clients of its user.

    `steps`: what happened, oldest first; those without a time come last. `silent`: nodes that did
    not answer in time, so that of their sessions only the ledger is known.
    """

    user: str
    message: MessageFacts
    clients: list[ClientDelivery]
    steps: list[Step]
    silent: list[str]
    at: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget_user` removed, and what stays.

    `closed`, `unconfirmed`: sessions, as of Disconnected. `messages`, `clients`, `rows`: how many
    messages of the stream, entries of the ledger and rows of history are gone. `state`: whether
    presence knew something of the user. `blocked`: a block stays until it ends or is lifted;
    `revoked`: revocations stay for their 30 days, or old tokens would count again.
    """

    closed: int
    unconfirmed: int
    messages: int
    clients: int
    state: bool
    rows: int
    blocked: bool
    revoked: bool
