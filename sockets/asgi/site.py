"""The project's own site on the surfaces: what of it strangers see."""

from __future__ import annotations

from typing import Any

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.http import Http404, HttpRequest
from django.urls import Resolver404, ResolverMatch, get_resolver

from sockets.http.middleware.base import surface_of
from sockets.types import Surface


class Site:
    """The application that `with_gateway` is round. `public`, `public_admin`: as given there."""

    def __init__(self, app: Any, *, public: bool, public_admin: bool) -> None:
        self.app = app
        self.public = public
        self.public_admin = public_admin
        self._django = _django_in(app)
        self.serves_sockets = _takes(app, "websocket")
        self.has_lifespan = _takes(app, "lifespan")
        if public and not public_admin and self._django is not None:
            # Whatever URLconf a middleware of the project chooses: Django has resolved it by then.
            views: list[Any] = self._django._view_middleware  # type: ignore[attr-defined]
            views.insert(0, _hide_admin)

    def serve_static_files(self) -> None:
        """Let Django serve the files of its apps, as `runserver` does, where nothing else would.

        For development: it looks for each file anew.
        """
        if self._django is None or _serves_static_files(self.app):
            return
        files = ASGIStaticFilesHandler(self._django)
        if isinstance(self.app, ProtocolTypeRouter):
            self.app.application_mapping["http"] = files
        else:
            self.app = files

    def is_public(self, path: str) -> bool:
        """Whether strangers may ask the site for this path."""
        if not self.public:
            return False
        # Django would send /admin to /admin/, and so say that it is there.
        hidden = self._django is not None and not self.public_admin and not path.endswith("/")
        return not (hidden and leads_to_admin(f"{path}/"))


def _serves_static_files(app: Any) -> bool:
    """Whether the project has seen to them itself."""
    if isinstance(app, ProtocolTypeRouter):
        app = app.application_mapping.get("http")
    known = ("whitenoise.", "servestatic.", "sockets.http.middleware.static.")
    return hasattr(app, "application") or any(
        name.startswith(known) for name in settings.MIDDLEWARE
    )


def leads_to_admin(path: str) -> bool:
    """Whether the project's URLs lead from this path into an AdminSite."""
    try:
        return _is_admin(get_resolver().resolve(path))
    except Resolver404:
        return False


async def _hide_admin(request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
    """Answer as for a path that leads nowhere; a view middleware of Django's."""
    match = request.resolver_match
    if match is not None and surface_of(request) is Surface.PUBLIC and _is_admin(match):
        raise Http404


def _is_admin(match: ResolverMatch) -> bool:
    """Whether the view is an AdminSite's own, or of a ModelAdmin.

    By what they bring, without importing the admin, which a project may not have installed.
    """
    view: Any = match.func
    owner = type(getattr(view, "__self__", None))
    return (
        "admin" in match.app_names
        or hasattr(view, "admin_site")
        or hasattr(view, "model_admin")
        or any(base.__module__ == "django.contrib.admin.sites" for base in owner.__mro__)
    )


def _django_in(app: Any) -> ASGIHandler | None:
    """Return the handler of Django that serves HTTP in there, if one can be seen."""
    if isinstance(app, ProtocolTypeRouter):
        app = app.application_mapping.get("http")
    # The handler of static files holds another one.
    app = getattr(app, "application", app)
    return app if isinstance(app, ASGIHandler) else None


def _takes(app: Any, kind: str) -> bool:
    """Whether the application may serve this type of scope."""
    if isinstance(app, ProtocolTypeRouter):
        return kind in app.application_mapping
    return not isinstance(app, ASGIHandler)
