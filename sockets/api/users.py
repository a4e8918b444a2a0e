"""Who a caller means: user ids as Django code has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.utils.functional import LazyObject

from sockets.api.data import unwrapped
from sockets.base.arguments import USER_ID, require_many, require_user_id
from sockets.exceptions import InvalidMessage
from sockets.layers import groups

UserId: TypeAlias = str | int | UUID | Model
"""A user id, or a saved instance of AUTH_USER_MODEL (`request.user` too): its `str(pk)`."""


def as_user(user: Any) -> str:
    """Return the user id that is meant, as a string. Raises InvalidMessage.

    Must run where the caller is: `request.user` asks the database when it is looked at first.
    """
    if issubclass(type(user), LazyObject):
        user = unwrapped(user)
    name = type(user).__name__
    if not isinstance(user, Model):
        if getattr(user, "is_anonymous", False) is True:
            hint = "ask request.user.is_authenticated first"
            raise InvalidMessage(f"{USER_ID}; this is {name}, so nobody is logged in: {hint}")
        return require_user_id(user)
    if not _is_user(user):
        raise InvalidMessage(f"{USER_ID}; this is another model, {name}: pass the user it is about")
    if user.pk is None or user._state.adding:
        raise InvalidMessage(f"{USER_ID}; this {name} is not saved: save it before you pass it")
    return require_user_id(str(user.pk))


def as_users(users: Iterable[Any]) -> list[str]:
    """Return the user ids of a list, as strings. Raises InvalidMessage; also for one id."""
    if issubclass(type(users), LazyObject):
        users = unwrapped(users)  # it says of itself that it can be iterated, whatever it is
    return [as_user(user) for user in require_many(users)]


def user_group(user_id: UserId) -> str:
    """Return the channel layer's group of a user's sessions: `u.<id>`, or `x.<sha256>` if the id is
    no plain name.

    For `group_send(user_group(id), {"type": "user.notify", "event": …, "data": …})`. Raises
    InvalidMessage.
    """
    return groups.user_group(as_user(user_id))


def _is_user(found: Model) -> bool:
    try:
        return isinstance(found, get_user_model())
    except ImproperlyConfigured:
        return False  # a project without users of Django's
