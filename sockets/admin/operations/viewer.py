"""Who looks at a page: what they may see and do, and addresses within the site they look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from sockets.admin.operations.agents import in_words
from sockets.admin.operations.parts import Cell, outside, visible
from sockets.conf import get_conf

MOST_NAMES: Final = 500
"""Users that are looked up for one page."""


class Viewer:
    """One member of staff at one site, for one request."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self.site = site
        self.request = request
        self._names: dict[str, str] = {}

    def may(self, permission: str) -> bool:
        """Return whether they hold a permission of this app."""
        return self.request.user.has_perm(f"sockets.{permission}")

    def url(self, name: str, *args: str, **query: str) -> str:
        """Return the address of a page of this site; "" where the site has it not."""
        try:
            path = reverse(f"admin:sockets_{name}", args=args, current_app=self.site.name)
        except NoReverseMatch:
            return ""
        return f"{path}?{urlencode(query)}" if query else path

    def know(self, users: Iterable[str]) -> None:
        """Look up the names of these users: one query for a page."""
        self._names |= names_of(set(users))

    def user(self, user: str, below: str = "") -> Cell:
        """Return a user: the name where Django knows it, and the id; a link to their page."""
        href = self.url("gatewayuser_changelist", user=user)
        if not self.may("view_gatewayuser"):
            href = ""
        name = self._names.get(user, "")
        if not name:
            return outside(user, 48, below=below, href=href)
        under = " · ".join(filter(None, (f"{visible(user)}", below)))
        return outside(name, 48, below=under, href=href)

    def session(self, id: str, text: str = "") -> Cell:
        """Return a session's id, or this text, with a link to its page."""
        href = self.url("livesession_change", quote(id)) if self.may("view_session") else ""
        return Cell(text or id[-8:], title=id, href=href, fixed=not text)

    def name(self, user: str) -> str:
        """Return a user's name as far as it was looked up."""
        return self._names.get(user, "")


def names_of(users: set[str]) -> dict[str, str]:
    """Return the names of those of these users whom Django's user model knows.

    Only where user ids are its keys: in a project of its own, or where its logins are what clients
    prove themselves by. Elsewhere id 1 is another person than user 1 of the admin.
    """
    conf = get_conf()
    if not users or (conf.sessions != "project" and "session" not in conf.auth):
        return {}
    model = get_user_model()
    keys = [key for user in sorted(users)[:MOST_NAMES] if (key := _key(model, user)) is not None]
    found = model._default_manager.filter(pk__in=keys) if keys else ()
    return {str(one.pk): name for one in found if (name := _name(one))}


def _key(model: Any, user: str) -> Any:
    """Return a user id as this model's key; None for what cannot be one."""
    if "\0" in user:
        return None  # PostgreSQL takes none in a text
    try:
        key = model._meta.pk.to_python(user)
        model._meta.pk.run_validators(key)
    except (ValidationError, ValueError, OverflowError):
        return None
    return key if str(key) == user else None


def _name(user: Any) -> str:
    whole = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return str(whole or user.get_username())[:150]


def address(address: str, agent: str) -> Cell:
    """Return where a session comes from, and below it with what."""
    words = in_words(agent)
    under = words or visible(agent)[:40]
    return outside(address, 48, below=under, title=visible(agent))
