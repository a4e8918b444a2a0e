"""Users are blocked, unblocked, and what they have proved is revoked."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.operations import source
from sockets.admin.operations.actions import (
    Action,
    Affected,
    Done,
    logged_user,
    one_of,
    what_closed,
)
from sockets.admin.operations.disconnecting import ReasonForm, back_to_user, nobody, of_user
from sockets.admin.operations.viewer import Viewer
from sockets.types import Disconnected

LENGTHS: Final = {
    "3600": pgettext_lazy("gateway", "an hour"),
    "86400": pgettext_lazy("gateway", "a day"),
    "604800": pgettext_lazy("gateway", "a week"),
    "": pgettext_lazy("gateway", "until somebody unblocks them"),
}


class OfUser(Action):
    """What concerns one user."""

    def subject(self, viewer: Viewer) -> dict[str, list[str]]:
        return {"user": [one_of(viewer.request, "user")]}

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        return of_user(viewer, subject)

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        return back_to_user(viewer, subject)


class BlockForm(ReasonForm):
    """For how long, and what the client is told."""

    length = forms.ChoiceField(
        label=pgettext_lazy("gateway", "For"), choices=list(LENGTHS.items()), required=False
    )
    reason = forms.CharField(
        label=pgettext_lazy("gateway", "Reason"),
        initial="this user is blocked",
        required=False,
        help_text=pgettext_lazy("gateway", "The client is told this: at most 123 bytes."),
    )


class BlockUser(OfUser):
    """Keeps a user out, and closes what is open."""

    name = "block"
    permission = "block_gatewayuser"
    title = pgettext_lazy("gateway", "Block a user")
    button = pgettext_lazy("gateway", "Block and disconnect")
    entry = "Blocked by an operator"
    form = BlockForm

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        length = given["length"]
        # By the gateway's clock: this host's may be hours behind, and the block be over already.
        seconds = float(length) if length else None
        done = source.block_user(user, seconds=seconds, reason=given["reason"])
        told = [(messages.SUCCESS, pgettext("gateway", "The user is blocked.")), *_ends(done)]
        return Done(told, [logged_user(user)], {"seconds": seconds, **_counts(done)})


class UnblockUser(OfUser):
    """Lets a user in again."""

    name = "unblock"
    permission = "block_gatewayuser"
    title = pgettext_lazy("gateway", "Unblock a user")
    button = pgettext_lazy("gateway", "Unblock")
    entry = "Unblocked by an operator"
    warns = False

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        if not source.unblock_user(user):
            text = pgettext("gateway", "The user was not blocked.")
            return Done([(messages.WARNING, text)], details={"was": False})
        text = pgettext("gateway", "The user may come in again.")
        return Done([(messages.SUCCESS, text)], [logged_user(user)], {"was": True})


class RevokeForm(forms.Form):
    """What counts no more; nothing: everything that was issued until now."""

    sid = forms.CharField(
        label=pgettext_lazy("gateway", "Login (sid)"), required=False, max_length=256
    )
    jti = forms.CharField(
        label=pgettext_lazy("gateway", "Token (jti)"),
        required=False,
        max_length=256,
        help_text=pgettext_lazy("gateway", "Both empty: all that was issued until now."),
    )

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("sid") and found.get("jti"):
            raise ValidationError(pgettext("gateway", "Name a login or a token, one at a time."))
        return found


class RevokeUser(OfUser):
    """Ends what a user has proved, and closes whoever is here by it."""

    name = "revoke"
    permission = "revoke_gatewayuser"
    title = pgettext_lazy("gateway", "Revoke what a user has proved")
    button = pgettext_lazy("gateway", "Revoke")
    entry = "Revoked by an operator"
    form = RevokeForm

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        what = {name: given[name] for name in ("sid", "jti") if given[name]}
        done = source.revoke(user, **what)
        text = pgettext("gateway", "Revoked: what was issued until now counts no more.")
        if what:
            text = pgettext("gateway", "Revoked: this one counts no more.")
        return Done(
            [(messages.SUCCESS, text), *_ends(done)],
            [logged_user(user)],
            {"what": next(iter(what), "user"), **_counts(done)},
        )


def _ends(done: Disconnected) -> list[tuple[int, str]]:
    return what_closed([done]) or [(messages.INFO, nobody())]


def _counts(done: Disconnected) -> dict[str, int]:
    return {"closed": done.closed, "unconfirmed": done.unconfirmed}
