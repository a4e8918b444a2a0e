"""What became of a message, for whoever is connected or away; and a user who is forgotten."""

from __future__ import annotations

from django.utils.crypto import salted_hmac

from sockets.api.carry import at_node, sync_face
from sockets.api.control import close_patience
from sockets.api.given import given
from sockets.api.users import UserId, as_user
from sockets.base import audit
from sockets.deliveries import Explanation, Forgotten, LedgerEntry
from sockets.delivery.compose import require_key
from sockets.exceptions import InvalidMessage
from sockets.sessions.control import MAX_ASKED, ROWS_TIMEOUT
from sockets.sessions.inquiry import Which
from sockets.types import Audit, SessionDelivery

MAX_OFFSET = 2**53
MAX_NAME = 64
"""Characters of an epoch, and of a message's id."""


@given(user_id=as_user)
async def adelivery_of(
    user_id: UserId,
    offset: int | None = None,
    *,
    epoch: str | None = None,
    id: str | None = None,
    idempotency_key: str | None = None,
) -> list[SessionDelivery]:
    """Return what became of a durable message: for each live session of its user, oldest first,
    then for each client that is away (`live` False), as far as the ledger knows it.

    The message is named by `offset` (and `epoch`, without which the stream's as it is now), by
    `id`, or by `idempotency_key`; [] where no such message is kept. Each node remembers its last
    10,000 decisions: what nobody can know is `unknown`, never guessed. Raises InvalidMessage.
    """
    user, which = str(user_id), _which(offset, epoch, id, idempotency_key)
    return await at_node(lambda node: node.inquiry.delivery_of(user, which))


@given(user_id=as_user)
async def aexplain_delivery(
    user_id: UserId,
    offset: int | None = None,
    *,
    epoch: str | None = None,
    id: str | None = None,
    idempotency_key: str | None = None,
) -> Explanation:
    """Return why a durable message was, or was not, delivered: where it is now, what became of it
    for each client of its user, connected or away, and the steps of that with their times.

    Arguments are those of `delivery_of`.
    """
    user, which = str(user_id), _which(offset, epoch, id, idempotency_key)
    return await at_node(lambda node: node.inquiry.explain(user, which))


@given(user_id=as_user)
async def aledger_of(user_id: UserId) -> list[LedgerEntry]:
    """Return how far each client of a user has come in the user's stream, the last that was heard
    of first: at most 32, of the last 30 days, by the ids that they gave themselves.

    An entry is as it was at its last renewal where something had changed, or at the end.
    """
    user = str(user_id)
    return await at_node(lambda node: node.inquiry.ledger_of(user))


@given(user_id=as_user)
async def aforget_user(user_id: UserId) -> Forgotten:
    """Close a user's sessions (4504) and remove all that is kept of the user: the stream and its
    positions, the ledger, presence, and rows of sessions. Returns what is gone, and what stays.

    A block stays until it ends, revocations for their 30 days. May be repeated; where it raises
    GatewayUnavailable, repeating it does the rest. Whoever connects again begins afresh: `reset`,
    or `recovered: false`.
    """
    user = str(user_id)
    progress: dict[str, int] = {}
    outcome = "unknown"
    try:
        done = await at_node(
            lambda node: node.forgetting.forget(user, progress), _forget_patience()
        )
        outcome = ""
    finally:  # what is gone is gone, whatever became of the rest
        audit.record(
            Audit.FORGOTTEN,
            user_digest=digest_of(user),
            closed=progress.get("closed", ""),
            unconfirmed=progress.get("unconfirmed", ""),
            messages=progress.get("messages", ""),
            clients=progress.get("clients", ""),
            rows=progress.get("rows", ""),
            outcome=outcome,
        )
    return done


def digest_of(user: str) -> str:
    """Return what the audit log calls a user who is forgotten: whoever has the id, and this
    project's SECRET_KEY, can find the line; nobody can find the id by the line."""
    return salted_hmac("sockets.forgotten", user, algorithm="sha256").hexdigest()[:32]


def _which(
    offset: int | None, epoch: str | None, id: str | None, idempotency_key: str | None
) -> Which:
    """Raises InvalidMessage."""
    if sum(name is not None for name in (offset, id, idempotency_key)) != 1:
        raise InvalidMessage("name the message by one of offset, id and idempotency_key")
    if offset is None and epoch is not None:
        raise InvalidMessage("epoch goes with offset")
    if offset is not None and not _is_offset(offset):
        raise InvalidMessage("offset is a whole number from 1, as the receipt has it")
    for name, value in (("epoch", epoch), ("id", id)):
        if value is not None and not (isinstance(value, str) and len(value) <= MAX_NAME):
            raise InvalidMessage(f"{name} is a string of at most {MAX_NAME} characters")
    if id == "":
        raise InvalidMessage("id is the message's, as the receipt has it")
    key = None if idempotency_key is None else require_key("idempotency_key", idempotency_key)
    return Which(offset, epoch, id or "", key or "")


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_OFFSET


def _forget_patience(*_: object, **__: object) -> float:
    return close_patience() + MAX_ASKED * ROWS_TIMEOUT


delivery_of = sync_face(adelivery_of)
explain_delivery = sync_face(aexplain_delivery)
ledger_of = sync_face(aledger_of)
forget_user = sync_face(aforget_user, patience=_forget_patience)
