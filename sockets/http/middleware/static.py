"""Static files, where the admin is: on the public surface there are none."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware

from sockets.http.middleware.base import Next, surface_of
from sockets.types import Surface


class StaticMiddleware(ServeStaticMiddleware):
    """ServeStatic on the private surface; a start without the collected files says so."""

    def __init__(self, get_response: Next) -> None:
        if settings.SERVESTATIC_USE_MANIFEST and not settings.STATIC_ROOT.is_dir():
            raise ImproperlyConfigured(
                f"STATIC_ROOT: {str(settings.STATIC_ROOT)!r} is missing; run: "
                "python manage.py collectstatic --no-input"
            )
        super().__init__(get_response)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if surface_of(request) is Surface.PUBLIC or not request.path_info.startswith(
            settings.STATIC_URL
        ):
            response: HttpResponseBase = await self.get_response(request)
            return response
        return await super().__call__(request)
