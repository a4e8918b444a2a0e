"""The database's keys: read, noted as used, made, ended. Each function blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError, router, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest, Least
from django.utils import timezone

from sockets.auth.keys import Key, hash_of, make_secret
from sockets.auth.scopes import parse_scopes
from sockets.base import audit
from sockets.models import AccessKey
from sockets.types import Audit

MAX_LIVE: Final = 10_000
"""Keys that a node knows."""

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
NAME_RULE: Final = "a name has 1 to 64 of A-Z a-z 0-9 . _ -"


def live_keys() -> QuerySet[AccessKey]:
    """Return the keys that count now."""
    using = router.db_for_write(AccessKey)  # a replica would know of an end too late
    return AccessKey.objects.using(using).filter(
        Q(expires_at=None) | Q(expires_at__gt=timezone.now()), ended_at=None
    )


def load() -> dict[str, Key]:
    """Return the live keys by id; the newest, should there be more than MAX_LIVE."""
    rows = live_keys().order_by("-created_at", "-id")[:MAX_LIVE]
    return {
        row.id: Key(
            row.name,
            frozenset(row.scopes.split()),
            row.id,
            row.hash,
            None if row.expires_at is None else row.expires_at.timestamp(),
        )
        for row in rows
    }


def note_used(used: Mapping[str, float]) -> None:
    """Write when keys were used: `used` has seconds since the epoch by id. A time never goes back,
    for many nodes write it."""
    using = router.db_for_write(AccessKey)
    for id, at in used.items():
        moment = datetime.fromtimestamp(at, timezone.get_current_timezone())
        AccessKey.objects.using(using).filter(id=id).update(
            last_used_at=Greatest(Coalesce(F("last_used_at"), Value(moment)), Value(moment))
        )


def make_key(
    name: str,
    scopes: Iterable[str],
    *,
    expires_at: datetime | None = None,
    replace: bool = False,
    overlap: timedelta = timedelta(0),
    by: str = "",
) -> tuple[AccessKey, str]:
    """Make a key. Returns its row and its secret, which nobody can see again. `replace`: older keys
    of the name end after `overlap`. Raises ValueError."""
    if NAME.fullmatch(name) is None:
        raise ValueError(NAME_RULE)
    scopes = parse_scopes(scopes)
    if expires_at is not None and expires_at <= timezone.now():
        raise ValueError("a key that has expired already is of no use")
    using = router.db_for_write(AccessKey)
    with transaction.atomic(using=using):
        replaced = _let_end(name, timezone.now() + overlap) if replace else 0
        row, secret = _insert(using, name, scopes, expires_at)
    audit.record(
        Audit.KEY_MADE,
        key=name,
        id=row.id,
        scopes=row.scopes,
        expires_at=None if expires_at is None else expires_at.timestamp(),
        replaced=replaced,
        **_by(by),
    )
    return row, secret


def _insert(
    using: str, name: str, scopes: frozenset[str], expires_at: datetime | None
) -> tuple[AccessKey, str]:
    while True:
        id, secret = make_secret()
        row = AccessKey(
            id=id,
            name=name,
            hash=hash_of(secret),
            scopes=" ".join(sorted(scopes)),
            created_at=timezone.now(),
            expires_at=expires_at,
        )
        try:
            with transaction.atomic(using=using):
                row.save(using=using, force_insert=True)
        except IntegrityError:
            if not AccessKey.objects.using(using).filter(id=id).exists():
                raise  # not the id, of which there is one in 2**40
            continue
        return row, secret


def _let_end(name: str, at: datetime) -> int:
    """Have the live keys of a name expire at this time, unless they do before."""
    moment = Value(at)
    keys = live_keys().filter(name=name)
    return keys.update(expires_at=Least(Coalesce(F("expires_at"), moment), moment))


def end_keys(keys: QuerySet[AccessKey], *, by: str = "") -> list[AccessKey]:
    """End these keys now. Returns those that were live."""
    ended = []
    for row in keys:
        at = timezone.now()
        if live_keys().filter(id=row.id).update(ended_at=at):
            row.ended_at = at
            ended.append(row)
            audit.record(Audit.KEY_ENDED, key=row.name, id=row.id, **_by(by))
    return ended


def _by(who: str) -> dict[str, str]:
    return {"by": who} if who else {}
