"""The recorder's statements. Each function is one transaction; SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import (
    DataError,
    Error,
    IntegrityError,
    connections,
    models,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Value
from django.db.models.functions import Greatest
from django.utils import timezone

from sockets.codes import LOST
from sockets.models import OPEN, Node, Session
from sockets.recorder.queue import Close, Entry
from sockets.types import SessionInfo

LOST_REASON: Final = "the gateway process died"
USER_BYTES: Final = 1024  # protocol.md section 2; PostgreSQL can index up to 2,704

CHUNK: Final = 500
ROWS: Final = 80  # in one statement: SQLite may be built to take no more than 999 values
STILL: Final = 10_000  # milliseconds that a transaction may wait for its process to go on
SAME_START: Final = timedelta(seconds=1)  # between two notes of when one process began

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL: PostgreSQL; lone surrogates: no UTF-8
_LENGTHS: Final[dict[tuple[type[models.Model], str], int | None]] = {
    (model, field.name): field.max_length
    for model in (Session, Node)
    for field in model._meta.concrete_fields
    if isinstance(field, models.CharField)
}
_SESSION_COLUMNS = [str(f.column) for f in Session._meta.concrete_fields]  # in the order of `_row`
_NODE_COLUMNS = [f.name for f in Node._meta.concrete_fields if not f.primary_key]


def alias() -> str:
    """Return the database that the rows are in."""
    return router.db_for_write(Session)


@contextmanager
def brief(using: str) -> Iterator[None]:
    """A transaction that ends with its connection where its process is frozen in mid-transaction:
    the rows that it has locked are those that a successor needs. On PostgreSQL; SQLite is one
    machine's."""
    with transaction.atomic(using=using):
        connection = connections[using]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # LOCAL: a pooler gives the session to others
                cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = {STILL}")
        yield


def save(entries: Sequence[Entry]) -> None:
    """Upserts the sessions that were opened; of the others, updates the end.

    May be repeated. A close whose row does not exist changes nothing.
    """
    using = alias()
    connection = connections[using]
    moments = connection.ops.adapt_datetimefield_value
    rows = [_row(e.info, e.close, moments) for e in entries if e.info is not None]
    ends = [(e.id, *_end(e.close)) for e in entries if e.info is None and e.close is not None]
    # By statements of our own: bulk_create() costs three times as much a row, and bulk_update()
    # thirty times.
    with brief(using), connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            values = [value for row in some for value in row]
            cursor.execute(_upsert(connection, len(some)), values)
        if ends:
            table = connection.ops.quote_name(Session._meta.db_table)
            cursor.executemany(
                f"UPDATE {table} SET disconnected_at = %s, close_code = %s, "
                "close_reason = %s WHERE id = %s",
                [(moments(at), code, reason, id) for id, at, code, reason in ends],
            )


def _upsert(connection: BaseDatabaseWrapper, count: int) -> str:
    """Return the statement for so many session rows."""
    quote = connection.ops.quote_name
    key, *others = [quote(column) for column in _SESSION_COLUMNS]
    row = f"({', '.join(['%s'] * len(_SESSION_COLUMNS))})"
    return (
        f"INSERT INTO {quote(Session._meta.db_table)} ({', '.join([key, *others])}) "
        f"VALUES {', '.join([row] * count)} ON CONFLICT ({key}) DO UPDATE SET "
        + ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
    )


def take_over(node: Node) -> int:
    """Enter the node; close what its previous process left open. Returns how many those were."""
    using = alias()
    with brief(using):
        previous = _locked(node.name)
        ended = previous.seen_at if previous is not None else node.started_at
        lost = _close_lost(Session.objects.using(using).filter(OPEN, node=node.name), ended)
        _save_node(node)
    return lost


def close_dead(name: str, started: datetime, at: datetime) -> int:
    """Another node died: close what it left open. Returns how many those were.

    `started`: of the dead process; `at`: when it was found dead. Nothing is done where its row
    tells of a later process, which has seen to it, or of a life after `at`: it was not dead, only
    silent, and its sessions are.
    """
    using = alias()
    with brief(using):
        node = _locked(name)
        if node is not None and (_is_later(node, started) or node.seen_at > at):
            return 0
        return _close_lost(Session.objects.using(using).filter(OPEN, node=name), at)


def close_all_but(node: Node, live: Collection[str], at: datetime) -> int:
    """Close the open rows of a node whose sessions are not live: their ends were dropped.

    Not where a later process of the same name has entered: what is open is that one's.
    """
    using = alias()
    rows = Session.objects.using(using).filter(OPEN, node=node.name)
    gone = [id for id in rows.values_list("id", flat=True).iterator() if id not in live]
    count = 0
    for start in range(0, len(gone), CHUNK):
        with brief(using):
            entered = _locked(node.name)
            if entered is not None and _is_later(entered, node.started_at):
                break
            chosen = Session.objects.using(using).filter(OPEN, id__in=gone[start : start + CHUNK])
            count += _close_lost(chosen, at)
    return count


def _locked(name: str) -> Node | None:
    """Return the node's row, which until the end of the transaction no process enters.

    Taken before any session's row: two who take them in another order wait for each other.
    """
    return Node.objects.using(alias()).select_for_update().filter(name=name).first()


def _is_later(node: Node, started: datetime) -> bool:
    """Return whether the row is of a later process than the one that began then."""
    return node.started_at > started + SAME_START


def _close_lost(rows: models.QuerySet[Session], at: datetime) -> int:
    return rows.update(
        disconnected_at=Greatest(F("connected_at"), Value(at, output_field=models.DateTimeField())),
        close_code=LOST,
        close_reason=LOST_REASON,
    )


def save_node(node: Node) -> None:
    """Upsert: the row comes back if somebody deleted it."""
    with brief(alias()):
        _save_node(node)


def _save_node(node: Node) -> None:
    Node.objects.using(alias()).bulk_create(
        [node], update_conflicts=True, unique_fields=["name"], update_fields=_NODE_COLUMNS
    )


def is_refusal(error: Exception) -> bool:
    """Return whether this content will never be taken.

    Everything else (away, locked, full, not migrated) is worth another attempt.
    """
    if isinstance(error, DataError | IntegrityError | ValueError | TypeError | OverflowError):
        return True
    # PostgreSQL reports an index entry that is too large as an operational error: class 54.
    return str(getattr(error.__cause__, "sqlstate", "")).startswith("54")


def drop_connection() -> None:
    """Drop this thread's connection; the next query opens a new one."""
    with suppress(Error):
        connections[alias()].close()


def first_line(error: BaseException) -> str:
    """Return the first line of an error: PostgreSQL quotes the statement after it."""
    return str(error).partition("\n")[0]


def text(model: type[models.Model], field: str, value: str) -> str:
    """Return the value as its column can hold it, in any database."""
    return _UNSTORABLE.sub("\ufffd", value)[: _LENGTHS[model, field]]


def moment(at: float) -> datetime:
    """Seconds since the epoch as the database wants them."""
    aware = datetime.fromtimestamp(at, UTC)
    return aware if settings.USE_TZ else timezone.make_naive(aware)


def stored_user(user: str) -> str:
    """Return a user id as its column holds it."""
    return text(Session, "user", user).encode()[:USER_BYTES].decode(errors="ignore")


def _row(
    info: SessionInfo, close: Close | None, moments: Callable[[datetime], Any]
) -> tuple[Any, ...]:
    """Return the values of a row. `moments`: makes what the database takes for one."""
    at, code, reason = (None, None, "") if close is None else _end(close)
    return (
        info.id,
        info.kind.value,
        stored_user(info.user),
        text(Session, "client_id", info.client_id),
        text(Session, "node", info.node),
        text(Session, "address", info.address),
        text(Session, "agent", info.agent),
        moments(moment(info.connected_at)),
        None if at is None else moments(at),
        code,
        reason,
    )


def _end(close: Close) -> tuple[datetime, int, str]:
    code = min(max(int(close.code), 0), 32_767)  # what a small integer holds everywhere
    return moment(close.at), code, text(Session, "close_reason", close.reason)
