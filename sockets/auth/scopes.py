"""What a key may do.

    notify          send: notifications, batches, broadcasts
    presence        see: who is connected, what became of messages, what clients send; of users'
                    streams all but the data of their messages
    messages        read: users' streams with their data
    admin           end: sessions, logins, blocks; trace a user, forget one
    tasks:<pool>    give that pool's tasks, or take them; `tasks:*` those of any pool
    call            call the Python API: for processes of the project itself

None of them holds another, but that whoever may call the Python API may do all that it does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sockets.base.ids import is_pool

NOTIFY: Final = "notify"
PRESENCE: Final = "presence"
MESSAGES: Final = "messages"
ADMIN: Final = "admin"
TASKS: Final = "tasks:"
ANY_POOL: Final = "tasks:*"

CALL: Final = "call"

PLAIN: Final = (NOTIFY, PRESENCE, MESSAGES, ADMIN, CALL)
ALL: Final = frozenset({*PLAIN, ANY_POOL})
WORKERS: Final = frozenset({NOTIFY, PRESENCE, ANY_POOL})
"""The scopes of a key of WORKER_KEYS."""

MAX_SCOPES: Final = 32


def may_use(pool: str, scopes: Collection[str]) -> bool:
    """Whether these scopes include a pool's tasks."""
    return ANY_POOL in scopes or f"{TASKS}{pool}" in scopes


def parse_scopes(words: Iterable[str]) -> frozenset[str]:
    """Return the scopes as a set. Raises ValueError for a word that is no scope, for none, and for
    too many."""
    scopes = frozenset(words)
    for scope in scopes:
        pool = scope.removeprefix(TASKS)
        if not (scope in ALL or (pool != scope and is_pool(pool))):
            known = ", ".join((*PLAIN, "tasks:<pool>", ANY_POOL))
            raise ValueError(f"{scope[:80]!r} is no scope; these are: {known}")
    if not scopes:
        raise ValueError("a key without a scope may do nothing: give it one")
    if len(scopes) > MAX_SCOPES:
        raise ValueError(f"{len(scopes)} scopes are too many: at most {MAX_SCOPES}, or tasks:*")
    return scopes
