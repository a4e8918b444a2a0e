"""Sessions are disconnected: those that were chosen, or those of a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import Http404
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.closing import remember, wait_until_written
from sockets.admin.operations import source
from sockets.admin.operations.actions import (
    Action,
    Affected,
    Done,
    comes_from,
    count_of_sessions,
    logged_user,
    one_of,
    what_closed,
)
from sockets.admin.operations.parts import Cell
from sockets.admin.operations.viewer import Viewer
from sockets.base.ids import parse_ulid
from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.models import LiveSession, Session
from sockets.types import Disconnected

REASON: Final = "disconnected by an operator"
MOST: Final = 500
"""Sessions that are disconnected at once."""

_NAMED: Final = 20


class ReasonForm(forms.Form):
    """What the client is told in the close frame."""

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if len(reason.encode()) > 123:
            raise ValidationError(pgettext("gateway", "A close reason has at most 123 bytes."))
        return reason


class CloseForm(ReasonForm):
    """With what the sockets are closed."""

    code = forms.IntegerField(
        label=pgettext_lazy("gateway", "Close code"),
        initial=int(CloseCode.DISCONNECTED),
        min_value=1000,
        max_value=4999,
        help_text=pgettext_lazy(
            "gateway",
            "4504: clients stay away until their page is reloaded. 4000: they come back at once.",
        ),
    )
    reason = forms.CharField(
        label=pgettext_lazy("gateway", "Reason"),
        initial=REASON,
        required=False,
        help_text=pgettext_lazy("gateway", "The client is told this: at most 123 bytes."),
    )


class CloseUserForm(CloseForm):
    """... and whom to spare."""

    keep = forms.CharField(
        label=pgettext_lazy("gateway", "Except"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=pgettext_lazy(
            "gateway", "Ids of clients or sessions that stay, separated by spaces."
        ),
    )

    def clean_keep(self) -> list[str]:
        text: str = self.cleaned_data["keep"]
        return text.split()


class DisconnectSessions(Action):
    """The sessions that were chosen in a list, or one."""

    name = "disconnect"
    permission = "disconnect_session"
    title = pgettext_lazy("gateway", "Disconnect sessions")
    button = pgettext_lazy("gateway", "Disconnect")
    entry = "Disconnected by an operator"
    form = CloseForm

    def subject(self, viewer: Viewer) -> dict[str, list[str]]:
        request = viewer.request
        chosen = request.POST.getlist("session") or request.GET.getlist("session")
        if not chosen:
            raise Http404("no session is named")
        return {"session": list(dict.fromkeys(chosen))[:MOST]}

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        chosen = subject["session"]
        ids = [id for one in chosen[:_NAMED] if (id := parse_ulid(one))]
        users = dict(Session.objects.filter(pk__in=ids).values_list("pk", "user"))
        viewer.know(users.values())
        things = [
            viewer.user(users[id], id) if id in users else Cell(id, fixed=True)
            for id in chosen[:_NAMED]
        ]
        return Affected(count_of_sessions(len(chosen)), things)

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        chosen = subject["session"]
        done = source.disconnect_sessions(chosen, code=given["code"], reason=given["reason"])
        closed = [id for id, one in done.items() if one.closed]
        _await_rows(viewer, chosen, closed)
        gone = len(chosen) - len(done)
        told = what_closed(done.values(), gone)
        return Done(told, _rows_of(closed), _details(done.values(), gone))

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        if not comes_from(viewer.request):
            return viewer.url("livesession_changelist")
        if len(subject["session"]) == 1:
            return viewer.url("session_change", quote(subject["session"][0]))
        return viewer.url("session_changelist")


class DisconnectUser(Action):
    """All sessions of a user, or all but some."""

    name = "disconnect"
    permission = "disconnect_session"
    title = pgettext_lazy("gateway", "Disconnect a user")
    button = pgettext_lazy("gateway", "Disconnect")
    entry = "Disconnected by an operator"
    form = CloseUserForm

    def subject(self, viewer: Viewer) -> dict[str, list[str]]:
        return {"user": [one_of(viewer.request, "user")]}

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        return of_user(viewer, subject)

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        stays = {id.upper() for id in given["keep"]}
        here = [
            one.id
            for one in source.presence_of(user).sessions
            if stays.isdisjoint((one.id.upper(), one.client_id.upper()))
        ]
        done = source.disconnect_user(user, **given)
        _await_rows(viewer, here, [])
        told = what_closed([done]) or [(messages.WARNING, nobody())]
        return Done(told, [logged_user(user)], _details([done]))

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        return back_to_user(viewer, subject)


def of_user(viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
    """Return a user and how many sessions they have. Raises GatewayError."""
    (user,) = subject["user"]
    viewer.know([user])
    sessions = source.presence_of(user).sessions
    return Affected(count_of_sessions(len(sessions)), [viewer.user(user)])


def back_to_user(viewer: Viewer, subject: dict[str, list[str]]) -> str:
    """Return the user's page."""
    (user,) = subject["user"]
    return viewer.url("gatewayuser_changelist", user=user)


def nobody() -> str:
    """Return that there was no session to close."""
    return pgettext("gateway", "The user had no live session.")


def _await_rows(viewer: Viewer, chosen: Sequence[str], closed: Sequence[str]) -> None:
    """Have no page of the history call these live: see `sockets.admin.closing`."""
    if get_conf().history:
        wait_until_written(closed)
        remember(viewer.request, chosen)


def _rows_of(closed: Sequence[str]) -> list[Model]:
    """Return what the admin's history tells of: the rows, as far as there are any."""
    rows = Session.objects.in_bulk(closed[:MOST])
    return [rows.get(id) or LiveSession(id=id) for id in closed]


def _details(done: Any, gone: int = 0) -> dict[str, int]:
    ends: list[Disconnected] = list(done)
    told = {
        "closed": sum(one.closed for one in ends),
        "unconfirmed": sum(one.unconfirmed for one in ends),
    }
    return told | ({"gone": gone} if gone else {})
