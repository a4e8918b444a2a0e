"""What happens to Django's users happens to their sessions: the receivers of `DJANGO_ACCOUNTS`.

For projects whose users are the gateway's users, by `str(user.pk)`:

    logout                                          the login's sessions are revoked (4508)
    password changed, deactivated, deleted,
    staff or superuser or groups or permissions     all of the user
    a group's permissions                           all of its members who are connected

The change is in the database first. A gateway that does not answer stops no logout: it is waited
for for a second at most, and what could not be revoked is a warning in the log. Migrations and
fixtures revoke nothing. Queries that pass the models by (`update`, `bulk_update`, raw SQL) send no
signals: call `sockets.api.revoke` beside them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Iterable
from functools import partial
from types import FrameType
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import get_hasher, identify_hasher, is_password_usable
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.db import router, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import Signal

from sockets.api import apresence_of_users, arevoke
from sockets.api.briefly import briefly
from sockets.auth.logins import login_id, sid_of
from sockets.exceptions import GatewayError
from sockets.types import PresenceState

WATCHED: Final = ("password", "is_active", "is_staff", "is_superuser")
"""Fields of a user whose change ends their sessions."""

BATCH: Final = 10_000
"""Users of one question."""

AT_ONCE: Final = 50
"""Revocations on their way at once."""

_SETTING_UP: Final = frozenset(
    {
        "django.core.management.commands.loaddata",
        "django.core.management.commands.migrate",
        "django.db.migrations.executor",
    }
)
_CHANGED: Final = "_gateway_changed"

__all__ = ["connect", "disconnect", "login_id"]


def connect() -> None:
    """Listen to Django's users from now on. May be called again."""
    for signal, receiver, sender in _receivers():
        signal.connect(receiver, sender=sender)


def disconnect() -> None:
    """The opposite."""
    for signal, receiver, sender in _receivers():
        signal.disconnect(receiver, sender=sender)


def _receivers() -> list[tuple[Signal, Callable[..., None], Any]]:
    user: Any = get_user_model()
    found: list[tuple[Signal, Callable[..., None], Any]] = [
        (user_logged_out, _logged_out, None),
        (post_delete, _deleted, user),
        (m2m_changed, _group_changed, Group.permissions.through),
    ]
    for model in apps.get_models():  # a proxy, or one with fields of its own, sends in its own name
        if issubclass(model, user):
            found += [(pre_save, _saving, model), (post_save, _saved, model)]
            if model._meta.proxy:  # of the others Django deletes the user too
                found.append((post_delete, _deleted, model))
    for name in ("groups", "user_permissions"):  # a model of the project's own may have none
        if (field := getattr(user, name, None)) is not None:
            found.append((m2m_changed, _rights_changed, field.through))
    return found


def _logged_out(sender: Any, *, request: Any, user: Any, **_: Any) -> None:
    session = getattr(request, "session", None)
    if user is None or session is None:
        return
    key = session.session_key
    # The second is the login of tokens whose `sid` the project has made of the key by itself.
    sids = {sid_of(session, key), login_id(key) if key else ""} - {""}
    # Where the end of the session is written; `default` may be no database at all.
    using = router.db_for_write(getattr(session, "model", None) or get_user_model(), instance=user)
    _revoke([(user.pk, {"sid": sid}) for sid in sorted(sids)], using)


def _saving(
    sender: Any, *, instance: Any, raw: bool, using: str, update_fields: Any = None, **_: Any
) -> None:
    known = {field.name for field in sender._meta.concrete_fields}
    names = [name for name in WATCHED if name in known]
    if update_fields is not None:
        names = [name for name in names if name in update_fields]
    if raw or instance._state.adding or not names or _is_setting_up():
        return
    rows = sender._base_manager.using(using).filter(pk=instance.pk).values_list(*names)
    before, now = rows.first(), tuple(getattr(instance, name) for name in names)
    changed = before not in (None, now)
    if changed and names == ["password"] and getattr(instance, "_password", None) is None:
        changed = not _is_hashed_anew(before[0], now[0])
    setattr(instance, _CHANGED, changed)


def _is_hashed_anew(old: str, new: str) -> bool:
    """Whether a login with the right password may have written it once more, by the hasher that is
    preferred now."""
    try:
        used, preferred = identify_hasher(old), get_hasher()
    except ValueError:
        return False  # there was none to log in with
    outdated = used.algorithm != preferred.algorithm or preferred.must_update(old)
    return outdated and is_password_usable(new)


def _saved(sender: Any, *, instance: Any, using: str, **_: Any) -> None:
    if instance.__dict__.pop(_CHANGED, False):
        _revoke_all([instance.pk], using)


def _deleted(sender: Any, *, instance: Any, using: str, **_: Any) -> None:
    _revoke_all([instance.pk], using)


def _rights_changed(
    sender: Any,
    *,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: Any,
    using: str,
    raw: bool = False,
    **_: Any,
) -> None:
    """Groups or permissions of a user, from either side."""
    if raw:
        return
    if not reverse:
        if action in ("post_add", "post_remove", "post_clear") and (pk_set is None or pk_set):
            _revoke_all([instance.pk], using)
    elif action in ("post_add", "post_remove"):
        _revoke_all(pk_set, using)
    elif action == "pre_clear":  # afterwards nobody knows who they were
        _revoke_connected(_members(instance), using)


def _group_changed(
    sender: Any,
    *,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: Any,
    using: str,
    raw: bool = False,
    **_: Any,
) -> None:
    """Permissions of a group, from either side."""
    if raw or action not in ("post_add", "post_remove", "pre_clear") or _is_setting_up():
        return
    if not reverse:
        groups = [instance]
    elif action == "pre_clear":
        groups = list(instance.group_set.all())
    else:
        groups = list(Group.objects.filter(pk__in=pk_set))
    for group in groups:
        _revoke_connected(_members(group), using)


def _members(of: Group | Permission) -> list[Any]:
    user: Any = get_user_model()
    name = "groups" if isinstance(of, Group) else "user_permissions"
    if not hasattr(user, name):
        return []
    found = user._base_manager.filter(**{name: of}).order_by("pk")
    return list(found.values_list("pk", flat=True))


def _revoke_all(users: Iterable[Any], using: str | None = None) -> None:
    _revoke([(user, {}) for user in users], using)


def _revoke(chosen: Iterable[tuple[Any, dict[str, str]]], using: str | None = None) -> None:
    """When the change is in the database."""
    revocations = [(str(user), what) for user, what in chosen]
    if not revocations or _is_setting_up():
        return
    work, whom = partial(_revoke_each, revocations), _named([user for user, _ in revocations])
    transaction.on_commit(partial(briefly, work, whom), using, robust=True)


def _revoke_connected(users: Collection[Any], using: str | None = None) -> None:
    chosen = [str(user) for user in users]
    if not chosen or _is_setting_up():
        return
    work = partial(_revoke_those_connected, chosen)
    transaction.on_commit(partial(briefly, work, _named(chosen)), using, robust=True)


async def _revoke_those_connected(users: list[str]) -> None:
    for start in range(0, len(users), BATCH):
        some = users[start : start + BATCH]
        answer = await apresence_of_users(some)
        gone = PresenceState.OFFLINE
        await _revoke_each([(user, {}) for user in some if answer.users[user].state is not gone])


async def _revoke_each(revocations: list[tuple[str, dict[str, str]]]) -> None:
    """Revoke them, some at a time. Raises the first error when all have been tried; or at once
    where nobody answers."""
    failed: GatewayError | None = None
    for start in range(0, len(revocations), AT_ONCE):
        some = revocations[start : start + AT_ONCE]
        calls = [arevoke(user, **what) for user, what in some]  # type: ignore[arg-type]
        done = await asyncio.gather(*calls, return_exceptions=True)
        errors = [one for one in done if isinstance(one, BaseException)]
        for error in errors:
            if not isinstance(error, GatewayError):
                raise error
            failed = failed or error
        if failed is not None and len(errors) == len(some):
            break
    if failed is not None:
        raise failed


def _named(users: Collection[str]) -> str:
    """Return how the log calls them."""
    first = next(iter(users))
    others = len(set(users)) - 1
    return f"user {first} and {others} more" if others else f"user {first}"


def _is_setting_up() -> bool:
    """Whether a migration or a fixture is what changes users. Nobody is connected yet for whom that
    matters, there may be no Redis, and the tables may not be what the models say."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in _SETTING_UP:
            return True
        frame = frame.f_back
    return False
