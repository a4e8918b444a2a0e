"""What happens to Django's users happens to their sessions: the receivers of `DJANGO_ACCOUNTS`.

For projects whose users are the gateway's users, by `str(user.pk)`:

    logout                                          the login's sessions are revoked (4508)
    password changed, deactivated, deleted,
    staff or superuser or groups or permissions     all of the user
    a group's permissions                           all of its members who are connected

The change is in the database first. A gateway that does not answer stops no logout: what could not
be revoked is logged as an error. Queries that pass the models by (`update`, `bulk_update`, raw SQL)
send no signals: call `sockets.api.revoke` beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import Signal

from sockets.api import presence_of_users, revoke
from sockets.auth.logins import login_id
from sockets.exceptions import GatewayError
from sockets.types import PresenceState

logger = logging.getLogger(__name__)

WATCHED: Final = ("password", "is_active", "is_staff", "is_superuser")
"""Fields of a user whose change ends their sessions."""

BATCH: Final = 10_000
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
        (pre_save, _saving, user),
        (post_save, _saved, user),
        (post_delete, _deleted, user),
        (m2m_changed, _group_changed, Group.permissions.through),
    ]
    for name in ("groups", "user_permissions"):  # a model of the project's own may have none
        if (field := getattr(user, name, None)) is not None:
            found.append((m2m_changed, _rights_changed, field.through))
    return found


def _logged_out(sender: Any, *, request: Any, user: Any, **_: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if user is not None and key:
        _revoke_all([user.pk], sid=login_id(key))


def _saving(
    sender: Any, *, instance: Any, raw: bool, using: str, update_fields: Any = None, **_: Any
) -> None:
    known = {field.name for field in sender._meta.concrete_fields}
    names = [name for name in WATCHED if name in known]
    if update_fields is not None:
        names = [name for name in names if name in update_fields]
    if raw or instance._state.adding or not names:
        return
    if names == ["password"] and update_fields is not None and instance._password is None:
        return  # a login with the right password has only hashed it anew
    rows = sender._base_manager.using(using).filter(pk=instance.pk).values_list(*names)
    changed = rows.first() not in (None, tuple(getattr(instance, name) for name in names))
    setattr(instance, _CHANGED, changed)


def _saved(sender: Any, *, instance: Any, **_: Any) -> None:
    if instance.__dict__.pop(_CHANGED, False):
        _revoke_all([instance.pk])


def _deleted(sender: Any, *, instance: Any, **_: Any) -> None:
    _revoke_all([instance.pk])


def _rights_changed(
    sender: Any, *, instance: Any, action: str, reverse: bool, pk_set: Any, **_: Any
) -> None:
    """Groups or permissions of a user, from either side."""
    if not reverse:
        if action in ("post_add", "post_remove", "post_clear") and (pk_set is None or pk_set):
            _revoke_all([instance.pk])
    elif action in ("post_add", "post_remove"):
        _revoke_all(pk_set)
    elif action == "pre_clear":  # afterwards nobody knows who they were
        _revoke_connected(_members(instance))


def _group_changed(
    sender: Any, *, instance: Any, action: str, reverse: bool, pk_set: Any, **_: Any
) -> None:
    """Permissions of a group, from either side."""
    if action not in ("post_add", "post_remove", "pre_clear"):
        return
    if not reverse:
        groups = [instance]
    elif action == "pre_clear":
        groups = list(instance.group_set.all())
    else:
        groups = list(Group.objects.filter(pk__in=pk_set))
    for group in groups:
        _revoke_connected(_members(group))


def _members(of: Group | Permission) -> list[Any]:
    return list(of.user_set.order_by("pk").values_list("pk", flat=True))


def _revoke_all(users: Iterable[Any], **what: str) -> None:
    """When the change is in the database; a logout must not fail because the gateway is away."""
    chosen = [str(user) for user in users]
    transaction.on_commit(partial(_try_all, chosen, what))


def _revoke_connected(users: Collection[Any]) -> None:
    transaction.on_commit(partial(_try_connected, [str(user) for user in users]))


def _try_connected(users: list[str]) -> None:
    for start in range(0, len(users), BATCH):
        some = users[start : start + BATCH]
        try:
            answer = presence_of_users(some)
        except GatewayError as error:
            logger.error("rights changed, %d users may be connected still: %s", len(some), error)
            continue
        gone = PresenceState.OFFLINE
        _try_all([user for user in some if answer.users[user].state is not gone], {})


def _try_all(users: list[str], what: dict[str, Any]) -> None:
    for user in users:
        try:
            revoke(user, **what)
        except GatewayError as error:
            logger.error("user %s may be connected still, revoke again: %s", user, error)
