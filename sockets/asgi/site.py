"""The project's own site on the surfaces: what of it strangers see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.http import Http404, HttpRequest
from django.urls import Resolver404, ResolverMatch, get_resolver

from sockets.base.scope import path_of
from sockets.base.within import Shown, found_in
from sockets.http.middleware.base import surface_of
from sockets.types import Surface

_NO_SOCKET: Final = (
    "No route found for path",  # URLRouter
    "No application configured for scope type",  # ProtocolTypeRouter
    "Django can only handle ASGI/HTTP connections",
)


class Site(Shown):
    """The application that `with_gateway` is round. `public`, `public_admin`: as given there."""

    def __init__(self, app: Any, *, public: bool, public_admin: bool) -> None:
        self.app = app
        self.public = public
        self.public_admin = public_admin
        django = found_in(app, ASGIHandler) if public and not public_admin else []
        # Another application's pages are nothing that we know, and are shown as they are.
        self.hides_admin = bool(django)
        self.serves_sockets = _takes(app, "websocket")
        self.has_lifespan = _takes(app, "lifespan")
        handler: Any
        for handler in django:
            # Whatever URLconf a middleware of the project chooses: Django has resolved it by then.
            # None: a handler of static files, which has another one's middleware.
            if handler._view_middleware is not None:
                handler._view_middleware.insert(0, _hide_admin)

    async def serve_socket(self, scope: Any, receive: Any, send: Any) -> bool:
        """Let the site serve a socket; False: it has none there, and nothing has been said.

        Channels and Django raise for that, which servers answer with 500 and a traceback, as often
        as strangers like.
        """
        begun = False

        async def receive_begun() -> Any:
            nonlocal begun
            begun = True
            return await receive()

        async def send_begun(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive_begun, send_begun)
        except ValueError as error:
            if begun or not str(error).startswith(_NO_SOCKET):
                raise
            return False
        return True

    def serve_static_files(self) -> None:
        """Let Django serve the files of its apps, as `runserver` does, where nothing else would.

        For development: it looks for each file anew.
        """
        handlers = found_in(self.app, ASGIHandler)
        if handlers and not _serves_static_files(handlers):
            self.app = ASGIStaticFilesHandler(self.app)

    def scope_for(self, surface: Surface, scope: Any) -> Any:
        """Return the scope that the site gets: the one that came, and with a slash at the end of
        the path where only that is missing to the hidden admin. Django would send it there, and so
        say that it is there."""
        path = path_of(scope)
        if surface is not Surface.PUBLIC or not self.hides_admin or path.endswith("/"):
            return scope
        return {**scope, "path": f"{scope['path']}/"} if leads_to_admin(f"{path}/") else scope


def _serves_static_files(handlers: list[ASGIHandler]) -> bool:
    """Whether the project has seen to them itself."""
    known = ("whitenoise.", "servestatic.", "sockets.http.middleware.static.")
    return any(isinstance(one, ASGIStaticFilesHandler) for one in handlers) or any(
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
    """Whether the view is an AdminSite's own, of a ModelAdmin, or of the admin's documentation.

    By what they bring, without importing the admin, which a project may not have installed.
    """
    return "admin" in match.app_names or any(map(_is_of_admin, _unwrapped(match.func)))


def _unwrapped(view: Any) -> Iterator[Any]:
    """Yield a view, and what its decorators are round."""
    while view is not None:
        yield view
        view = view.func if isinstance(view, partial) else getattr(view, "__wrapped__", None)


def _is_of_admin(view: Any) -> bool:
    owner = type(getattr(view, "__self__", None))
    modules = (getattr(view, "__module__", None), *(base.__module__ for base in owner.__mro__))
    return (
        hasattr(view, "admin_site")
        or hasattr(view, "model_admin")
        or any(str(name).startswith("django.contrib.admin") for name in modules)
    )


def _takes(app: Any, kind: str) -> bool:
    """Whether the application may serve this type of scope."""
    if isinstance(app, ProtocolTypeRouter):
        return kind in app.application_mapping
    return not isinstance(app, ASGIHandler)
