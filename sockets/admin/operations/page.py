"""A page of the operations room: in any AdminSite, with a permission of its own, checked for the
page and for each JSON that its script asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.cache import get_conditional_response
from django.utils.text import capfirst
from django.utils.translation import npgettext, pgettext

from sockets.admin.operations.known import problem_of
from sockets.admin.operations.parts import Part
from sockets.admin.operations.viewer import Viewer
from sockets.conf import get_conf
from sockets.exceptions import GatewayError, InvalidMessage

View = Callable[..., HttpResponse]
PAGES = ("overview", "livesession", "gatewayuser", "worker", "refusal", "session")
"""In this order above each page; the last one is the history."""


class Page(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Shows parts, at load in HTML and from then on as JSON.

    `permission`: to see it. `template`: extends `admin/sockets/operations/page.html`. What asks the
    gateway is in no transaction (ATOMIC_REQUESTS): a node may take two seconds to stay silent.
    """

    permission: ClassVar[str]
    template: ClassVar[str] = "admin/sockets/operations/page.html"

    class Media:
        css = {"all": ["sockets/admin.css", "sockets/operations.css"]}

    # What may be done.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"sockets.{self.permission}")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def require(self, request: HttpRequest, *permissions: str) -> Viewer:
        """Return who looks. Raises PermissionDenied without this page's permission, or these."""
        viewer = Viewer(self.admin_site, request)
        if not all(map(viewer.may, (self.permission, *permissions))):
            raise PermissionDenied
        return viewer

    # Addresses.

    def get_urls(self) -> list[URLPattern]:
        """Return only what there is: the page, its JSON, what the subclass adds, and the place to
        which the admin's history leads."""
        return [
            self.path("", self.page, "changelist"),
            self.path("data/", self.data, "data"),
            *self.more_urls(),
            self.path("<path:object_id>/change/", self.change, "change"),
        ]

    def more_urls(self) -> list[URLPattern]:
        """Return what else this page has."""
        return []

    def path(self, route: str, view: View, name: str) -> URLPattern:
        """Return one address, behind the site's login and its protection against forged posts."""
        wrapped = transaction.non_atomic_requests(self.admin_site.admin_view(view))
        return path(route, wrapped, name=f"sockets_{self.opts.model_name}_{name}")

    # What a subclass says.

    def parts(self, viewer: Viewer) -> Sequence[Part]:
        """Return what is shown. Raises GatewayError."""
        raise NotImplementedError

    def context(self, viewer: Viewer) -> dict[str, Any]:
        """Return what else the template needs."""
        return {}

    def object_url(self, viewer: Viewer, id: str) -> str:
        """Return where an entry of the admin's history about this object leads."""
        return viewer.url(f"{self.opts.model_name}_changelist")

    # Views.

    def page(self, request: HttpRequest) -> HttpResponse:
        viewer = self.require(request)
        return self.shown(viewer, lambda: self.parts(viewer), **self.context(viewer))

    def data(self, request: HttpRequest) -> HttpResponse:
        viewer = self.require(request)
        return self.answered(request, lambda: self.parts(viewer))

    def change(self, request: HttpRequest, object_id: str) -> HttpResponse:
        viewer = self.require(request)
        return HttpResponseRedirect(self.object_url(viewer, unquote(object_id)))

    # What they are made of.

    def shown(
        self,
        viewer: Viewer,
        parts: Callable[[], Sequence[Part]],
        template: str = "",
        **context: Any,
    ) -> HttpResponse:
        """Return a page of these parts, or of why the gateway could not be asked."""
        found: Sequence[Part] = ()
        problem = ""
        try:
            found = parts()
        except GatewayError as error:
            problem = problem_of(error)
        whole = {
            **self.admin_site.each_context(viewer.request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "tabs": tabs(viewer, self),
            "parts": found,
            "problem": problem,
            "now": f"{time.time():.3f}",
            "texts": texts(),
            "data_url": self._data_url(viewer),
            **context,
        }
        viewer.request.current_app = self.admin_site.name
        return TemplateResponse(viewer.request, template or self.template, whole)

    def answered(
        self, request: HttpRequest, parts: Callable[[], Sequence[Part]], **more: Any
    ) -> HttpResponse:
        """Return what changes of these parts as JSON; 304 where the asker has it already."""
        status = 200
        try:
            told: dict[str, Any] = {"parts": {one.id: one.live() for one in parts()}} | more
        except GatewayError as error:
            status = 400 if isinstance(error, InvalidMessage) else 503
            told = {"problem": str(error)}
        body = msgspec.json.encode(told)
        etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        response = HttpResponse(body, content_type="application/json", status=status)
        response["ETag"] = etag
        if status == 200:
            response = get_conditional_response(request, etag, response=response) or response
        return response

    def _data_url(self, viewer: Viewer) -> str:
        query = viewer.request.GET.urlencode()
        path = viewer.url(f"{self.opts.model_name}_data")
        return f"{path}?{query}" if query else path


def tabs(viewer: Viewer, shown_by: admin.ModelAdmin[Any]) -> list[tuple[str, str, bool]]:
    """Return the pages that this person may see: names, addresses, and which one this is."""
    there = {
        str(model._meta.model_name): (model, one)
        for model, one in viewer.site._registry.items()
        if model._meta.app_label == "sockets" and one.has_view_permission(viewer.request)
    }
    if not get_conf().history:
        there.pop("session", None)
    return [
        (
            pgettext("gateway", "History")
            if name == "session"
            else str(capfirst(there[name][0]._meta.verbose_name_plural)),
            viewer.url(f"{name}_changelist"),
            there[name][1] is shown_by,
        )
        for name in PAGES
        if name in there
    ]


def texts() -> dict[str, Any]:
    """Return what the script says, in the reader's language."""
    return {
        "units": [
            [pgettext("gateway", "%d d"), 86_400],
            [pgettext("gateway", "%d h"), 3_600],
            [pgettext("gateway", "%d min"), 60],
            [pgettext("gateway", "%d s"), 1],
        ],
        "live": pgettext("gateway", "Live"),
        "paused": pgettext("gateway", "Paused while this page is hidden"),
        "stale": pgettext("gateway", "Not updated since %(time)s: %(problem)s"),
        "noAnswer": pgettext("gateway", "no answer"),
        "again": pgettext("gateway", "Trying again in %(seconds)s s."),
        "loggedOut": pgettext("gateway", "Your login has ended: nothing here is updated any more."),
        "logIn": pgettext("gateway", "Log in again"),
        "forbidden": pgettext("gateway", "You may not see this page any more."),
        "waiting": [
            npgettext("gateway", "%(count)s change waits", "%(count)s changes wait", count)
            for count in (1, 2)
        ],
        "show": pgettext("gateway", "Show them"),
        "gone": pgettext("gateway", "gone"),
        "chosen": [
            npgettext("gateway", "%(count)s chosen", "%(count)s chosen", count) for count in (1, 2)
        ],
        "badJson": pgettext("gateway", "This is no JSON: %(problem)s"),
        "goodJson": pgettext("gateway", "This is JSON."),
    }
