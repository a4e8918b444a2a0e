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
from sockets.http.paths import SegmentConverter
from sockets.http.reader import BodyReader
from sockets.http.schemas import Problem
from sockets.http.security import ApiKey

register_converter(SegmentConverter, "segment")


_ERRORS = {
    "400": "The request cannot be read.",
    "401": "No valid key.",
    "403": "The key has not the scope.",
    "404": "There is no such thing.",
    "405": "Another method is meant.",
    "413": "Too large.",
    "422": "Understood, and wrong.",
    "429": "More requests than API_RATE: wait `retry_after` seconds.",
    "503": "Not now: the state store is away, or no worker is free.",
}


class _Api(NinjaAPI):
    """Nothing it answers may be kept by a cache; every operation may answer with a problem."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        document = super().get_openapi_schema(**kwargs)
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        scopes = _scopes(self)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["security"] = [{ApiKey.__name__: [scopes[operation["operationId"]]]}]
                for status, description in _ERRORS.items():
                    operation["responses"].setdefault(status, {"description": description})
                for status, answer in operation["responses"].items():
                    if int(status) >= 400:
                        answer["content"] = content
                # The server answers this one, before it knows what the request is for.
                operation["responses"]["431"] = {
                    "description": "The request's line and headers are larger than HEADER_SIZE.",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                }
        return document

    def create_response(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().create_response(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


def _scopes(api: NinjaAPI) -> dict[str, str]:
    """What each operation needs, by its id."""
    return {
        operation.operation_id or api.get_openapi_operation_id(operation): auth.name
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
    parser=BodyReader(),
)
problems.install(api)


def _add_routes() -> None:
    from sockets.http.routes import messages, tasks, users

    for module in (messages, users, tasks):
        api.add_router("", module.router)


_add_routes()
