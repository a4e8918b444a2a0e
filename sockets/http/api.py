"""The HTTP API of the private surface: what Django code can do, for any language.

/api/v1/…                 routes/, each with `Authorization: Bearer <API key>`
/api/v1/openapi.json      the document, OpenAPI 3.1
/api/v1/docs              to read and try
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import register_converter
from ninja import NinjaAPI

from sockets import __version__
from sockets.auth.scopes import ADMIN
from sockets.http import problems
from sockets.http.document import complete
from sockets.http.paths import SegmentConverter
from sockets.http.reader import BodyReader
from sockets.http.security import ApiKey

register_converter(SegmentConverter, "gateway_segment")


class _Api(NinjaAPI):
    """The gateway's NinjaAPI: no cache keeps its answers, and every operation may answer with a
    problem."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        document = super().get_openapi_schema(**kwargs)
        complete(document, _scopes(self))
        return document

    def create_response(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().create_response(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


def _scopes(api: NinjaAPI) -> dict[str, tuple[str, ...]]:
    """Return the scopes of which each operation needs one, by the operation's id."""
    return {
        operation.operation_id or api.get_openapi_operation_id(operation): auth.names
        for router in api._get_bound_routers()
        for view in router.path_operations.values()
        for operation in view.operations
        for auth in operation.auth_callbacks
        if isinstance(auth, ApiKey)
    }


api = _Api(
    title="Gateway",
    version=__version__,
    description=(
        "Notify users, see who is connected, give work to workers. User ids in paths are "
        "percent-encoded, a `/` too. Errors are problem JSON (RFC 9457)."
    ),
    auth=ApiKey(ADMIN),  # of a route that says nothing else
    urls_namespace="gateway-api",
    docs_url=None,  # docs.py
    parser=BodyReader(),
)
problems.install(api)


def _add_routes() -> None:
    from sockets.http.routes import calls, messages, operations, sessions, tasks, users

    for module in (messages, users, sessions, operations, tasks, calls):
        api.add_router("", module.router)


_add_routes()
