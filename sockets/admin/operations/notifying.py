"""A message is sent to a user: written, looked at once more with who gets it, sent once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.utils.translation import npgettext, pgettext, pgettext_lazy

from sockets.admin.operations import pressed, source
from sockets.admin.operations.actions import Affected, Done, logged_user
from sockets.admin.operations.parts import visible
from sockets.admin.operations.verdicts import OfUser
from sockets.admin.operations.viewer import Viewer
from sockets.base.ids import new_id
from sockets.exceptions import GatewayError


class MessageForm(forms.Form):
    """What is sent. `key`: of this form, by which a second press sends nothing more. It is the
    idempotency key of a message that is kept; of others this login remembers it."""

    event = forms.CharField(
        label=pgettext_lazy("gateway", "Event"),
        max_length=128,
        help_text=pgettext_lazy("gateway", "Its name, such as order.paid."),
    )
    content = forms.CharField(
        label=pgettext_lazy("gateway", "Data (JSON)"),
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 10, "class": "gateway-json", "spellcheck": "false"},
        ),
        help_text=pgettext_lazy("gateway", "Empty: null."),
    )
    durable = forms.BooleanField(
        label=pgettext_lazy("gateway", "Keep it in the stream"),
        required=False,
        initial=True,
        help_text=pgettext_lazy("gateway", "Else only who is connected now gets it."),
    )
    ttl = forms.IntegerField(
        label=pgettext_lazy("gateway", "Seconds to live"),
        required=False,
        min_value=1,
        max_value=30 * 86_400,
    )
    collapse_key = forms.CharField(
        label=pgettext_lazy("gateway", "Collapse key"), required=False, max_length=128
    )
    key = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def clean_content(self) -> Any:
        text: str = self.cleaned_data["content"]
        if not text.strip():
            return None
        try:
            content = json.loads(text, parse_constant=_no_number)
            json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        except json.JSONDecodeError as error:
            place = {"line": error.lineno, "column": error.colno, "problem": error.msg}
            said = pgettext(
                "gateway", "This is no JSON: line %(line)d, column %(column)d: %(problem)s."
            )
            raise ValidationError(said % place) from None
        except UnicodeEncodeError as error:
            said = pgettext(
                "gateway",
                "%(half)s is half of a surrogate pair and no character: write both halves, or "
                "leave it out.",
            )
            half = visible(error.object[error.start])
            raise ValidationError(said % {"half": half}) from None
        except (ValueError, RecursionError) as error:
            said = pgettext("gateway", "This is no JSON: %(problem)s")
            raise ValidationError(said % {"problem": error}) from None
        return content


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


class NotifyUser(OfUser):
    """Sends one message to all sessions of a user."""

    name = "notify"
    permission = "notify_gatewayuser"
    title = pgettext_lazy("gateway", "Send a message")
    button = pgettext_lazy("gateway", "Preview")
    entry = "Sent a message"
    form = MessageForm
    warns = False

    def form_for(self, viewer: Viewer, given: Any) -> forms.Form:
        return MessageForm(given, initial={"key": new_id()})

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        (user,) = subject["user"]
        viewer.know([user])
        reach = len(source.presence_of(user).sessions)
        text = npgettext(
            "gateway", "%(count)d session gets it now.", "%(count)d sessions get it now.", reach
        )
        return Affected(text % {"count": reach}, [viewer.user(user)])

    def preview(self, form: forms.Form) -> Sequence[tuple[str, str]]:
        given = form.cleaned_data
        shown = json.dumps(given["content"], ensure_ascii=False, indent=2)
        keeps = pgettext("gateway", "yes") if given["durable"] else pgettext("gateway", "no")
        lines = [
            (pgettext("gateway", "Event"), visible(given["event"])),
            (pgettext("gateway", "Data"), "\n".join(map(visible, shown.split("\n")))),
            (pgettext("gateway", "Kept in the stream"), keeps),
        ]
        if given["ttl"]:
            lines.append((pgettext("gateway", "Seconds to live"), str(given["ttl"])))
        if given["collapse_key"]:
            lines.append((pgettext("gateway", "Collapse key"), visible(given["collapse_key"])))
        return lines

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        options = _options(given)
        if not given["durable"] and not pressed.first(viewer.request, given["key"]):
            return Done([(messages.WARNING, _before())], details={"event": given["event"]})
        try:
            done = source.notify_user(user, given["event"], given["content"], **options)
        except GatewayError:
            pressed.forget(viewer.request, given["key"])
            raise
        details = {"event": given["event"], "message": done.id, "reach": done.reach}
        if done.duplicate:
            return Done([(messages.WARNING, _before())], details=details)
        text = npgettext(
            "gateway",
            "Sent to %(count)d session; its id is %(id)s.",
            "Sent to %(count)d sessions; its id is %(id)s.",
            done.reach,
        )
        said = text % {"count": done.reach, "id": done.id}
        return Done([(messages.SUCCESS, said)], [logged_user(user)], details)


def _before() -> str:
    return pgettext("gateway", "This message was sent before, and not once more.")


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"durable": given["durable"]}
    if given["ttl"]:
        options["ttl"] = float(given["ttl"])
    if given["collapse_key"]:
        options["collapse_key"] = given["collapse_key"]
    if given["durable"] and given["key"]:
        options["idempotency_key"] = given["key"]
    return options
