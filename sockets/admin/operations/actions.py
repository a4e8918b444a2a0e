"""What operators do: asked once more with the number that it concerns, then done, told and noted.

Each action has a permission of its own beside that of its page, is done by POST alone, and leaves
an entry in the admin's history and a line in the audit log that name who did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import npgettext, pgettext
from msgspec import Struct

from sockets.admin.operations.known import problem_of
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import Cell
from sockets.admin.operations.viewer import Viewer
from sockets.base import audit
from sockets.exceptions import GatewayError
from sockets.models import GatewayUser
from sockets.recorder.rows import stored_user
from sockets.types import Audit, Disconnected

MOST_LOGGED: Final = 500
"""Entries in the admin's history of one action."""


class Affected(Struct, frozen=True):
    """What an action concerns: in words with the number, and the things themselves, some of them.

    `problem`: why the number is not known.
    """

    text: str
    things: Sequence[Cell] = ()
    problem: str = ""


class Done(Struct, frozen=True):
    """What came of an action: lines for the operator, by level; the objects for the history; and
    what the audit log is told beside them."""

    told: list[tuple[int, str]]
    objects: Sequence[Model] = ()
    details: dict[str, Any] = {}


class Action:
    """One thing that can be done. `name`: of its address and in the audit log."""

    name: ClassVar[str]
    permission: ClassVar[str]
    title: ClassVar[str | Promise]
    button: ClassVar[str | Promise]
    entry: ClassVar[str]  # in the history, in English whoever reads it
    form: ClassVar[type[forms.Form]] = forms.Form
    warns: ClassVar[bool] = True  # of something that cannot be taken back
    template: ClassVar[str] = "admin/sockets/operations/action.html"

    # What a subclass says.

    def subject(self, viewer: Viewer) -> dict[str, list[str]]:
        """Return what is named by the request, as hidden fields carry it on. Raises Http404."""
        raise NotImplementedError

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        """Return what is concerned. Raises GatewayError."""
        raise NotImplementedError

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        """Do it. Raises GatewayError."""
        raise NotImplementedError

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        """Return where the operator comes from and goes afterwards."""
        raise NotImplementedError

    def form_for(self, viewer: Viewer, given: Any) -> forms.Form:
        """Return the form, bound where something was given."""
        return self.form(given)

    def preview(self, form: forms.Form) -> Sequence[tuple[str, str]]:
        """Return what is shown once more before it is done; empty: the form itself is enough."""
        return ()

    # The view.

    def at(self, page: Page) -> URLPattern:
        """Return the address of this action below this page."""

        def view(request: HttpRequest) -> HttpResponse:
            return self.answer(page, request)

        return page.path(f"{self.name}/", view, self.name)

    def answer(self, page: Page, request: HttpRequest) -> HttpResponse:
        """Ask, or do it where it was confirmed. Raises PermissionDenied, Http404."""
        viewer = page.require(request, self.permission)
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        subject = self.subject(viewer)
        given = request.POST if request.method == "POST" and "asked" in request.POST else None
        form = self.form_for(viewer, given)
        if given is None or "change" in request.POST or not form.is_valid():
            return self.ask(page, viewer, subject, form)
        if "confirmed" not in request.POST and (shown := self.preview(form)):
            return self.ask(page, viewer, subject, form, shown)
        try:
            with acting(request):
                done = self.perform(viewer, subject, form.cleaned_data)
                self._note(viewer, subject, done)
        except GatewayError as error:
            form.add_error(None, _not_done(error))
            return self.ask(page, viewer, subject, form)
        for level, text in done.told:
            page.message_user(request, text, level)
        return HttpResponseRedirect(self.back(viewer, subject))

    def ask(
        self,
        page: Page,
        viewer: Viewer,
        subject: dict[str, list[str]],
        form: forms.Form,
        preview: Sequence[tuple[str, str]] = (),
        *,
        history: bool = False,
    ) -> HttpResponse:
        """Return the page that names what is concerned, and asks."""
        try:
            affected = self.affected(viewer, subject)
        except GatewayError as error:
            affected = Affected("", problem=problem_of(error))
        return page.shown(
            viewer,
            lambda: (),
            self.template,
            title=self.title,
            parent=(capfirst(page.opts.verbose_name_plural), self.back(viewer, subject)),
            action_url=viewer.url(f"{page.opts.model_name}_{self.name}"),
            affected=affected,
            form=form,
            hidden=[(name, value) for name, values in subject.items() for value in values],
            button=self.button,
            warns=self.warns,
            preview=preview,
            back=self.back(viewer, subject),
            comes_from="history" if history else comes_from(viewer.request),
            data_url="",
        )

    def _note(self, viewer: Viewer, subject: dict[str, list[str]], done: Done) -> None:
        named = {name: _short(values) for name, values in subject.items()}
        audit.record(Audit.OPERATED, action=self.name, on=named, result=done.details)
        if done.objects:
            LogEntry.objects.log_actions(
                viewer.request.user.pk,  # type: ignore[arg-type]  # staff, so not None
                list(done.objects)[:MOST_LOGGED],
                CHANGE,
                self.entry,
            )


def _short(values: list[str]) -> Any:
    """As the audit log has it: what is one is no list."""
    return values[0] if len(values) == 1 else values[:50]


@contextmanager
def acting(request: HttpRequest) -> Iterator[None]:
    """Have the audit log name who does what is called within."""
    before = audit.actor.set(f"staff:{request.user.get_username()}")
    try:
        yield
    finally:
        audit.actor.reset(before)


def _not_done(error: GatewayError) -> str:
    unknown = getattr(error, "outcome", "nothing") == "unknown"
    text = (
        pgettext("gateway", "Nobody knows whether this was done: %(problem)s")
        if unknown
        else pgettext("gateway", "Not done: %(problem)s")
    )
    return text % {"problem": error}


def logged_user(user: str) -> GatewayUser:
    """Return a user as the admin's history names them. A database may not hold every id: PostgreSQL
    takes no NUL."""
    return GatewayUser(id=stored_user(user))


def one_of(request: HttpRequest, name: str) -> str:
    """Return what the request names. Raises Http404 where it names nothing."""
    value = request.POST.get(name) or request.GET.get(name, "")
    if not value:
        raise Http404(f"no {name} is named")
    return value


def comes_from(request: HttpRequest) -> str:
    """Return the page that asked for this action, where there is more than one."""
    return "history" if "history" in (request.POST.get("from"), request.GET.get("from")) else ""


def count_of_sessions(count: int) -> str:
    """Return how many sessions are concerned, in words."""
    text = npgettext(
        "gateway", "This concerns %(count)d session.", "This concerns %(count)d sessions.", count
    )
    return text % {"count": count}


def what_closed(done: Iterable[Disconnected], gone: int = 0) -> list[tuple[int, str]]:
    """Return what really happened to sessions, a line for each kind of end."""
    told = []
    ends = list(done)
    if closed := sum(one.closed for one in ends):
        text = npgettext(
            "gateway",
            "%(count)d session was disconnected.",
            "%(count)d sessions were disconnected.",
            closed,
        )
        told.append((messages.SUCCESS, text % {"count": closed}))
    if slow := sum(one.unconfirmed for one in ends):
        text = npgettext(
            "gateway",
            "%(count)d session does not answer; the socket is cut soon.",
            "%(count)d sessions do not answer; the socket is cut soon.",
            slow,
        )
        told.append((messages.WARNING, text % {"count": slow}))
    if gone:
        text = npgettext(
            "gateway",
            "%(count)d session was already gone.",
            "%(count)d sessions were already gone.",
            gone,
        )
        told.append((messages.WARNING, text % {"count": gone}))
    return told
