"""Who may use the HTTP API: backends with a key, each for what its scopes hold."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer

from sockets.auth.keys import Key, Use, environment_key, id_in
from sockets.auth.scopes import TASKS, may_use
from sockets.base import audit, metrics
from sockets.conf import get_conf
from sockets.exceptions import Forbidden, TooManyRequests
from sockets.node.node import Node, current_node, ensure_node
from sockets.types import Audit


class ApiKey(HttpBearer):
    """Lets in `Authorization: Bearer <secret>` of a key that holds one of `scopes`; a key in a
    query never counts.

    TASKS: the tasks of any pool; the route asks `may_use_pool` for the one that is meant.
    """

    openapi_description = (
        "The secret of a key that `manage.py create_key` made, or of an entry of API_KEYS. "
        "Each operation names the scope that it needs."
    )

    def __init__(self, *scopes: str) -> None:
        super().__init__()
        self.scopes = scopes

    def __call__(self, request: HttpRequest) -> Any:
        """Do as ninja's method, which with DEBUG logs what is no Bearer token, and may be a key."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()  # RFC 9110 section 11.4: one space or several
        return self.authenticate(request, token) if scheme.lower() == "bearer" else None

    async def authenticate(self, request: HttpRequest, token: str) -> Key | None:
        """Return the key, or None where there is none. Raises Forbidden, TooManyRequests,
        TryAgainLater."""
        address = request.META.get("REMOTE_ADDR", "")
        node = current_node()
        if node is None and id_in(token):
            node = await ensure_node()  # who else would know it
        key = await _find(token, node)
        if key is None:
            _record_refusal(401, "no valid key", address)
            if node is not None and (wait := node.keys.wait_after_failure(address)):
                raise _too_many("too many wrong keys from this address", wait)
            return None
        if node is not None and (wait := node.keys.wait_of(key)):
            rate = node.conf.api_rate
            raise _too_many(f"more than {rate:g} requests a second with this key", wait)
        audit.actor.set(f"key:{key.name}")
        if not any(_holds(key, scope) for scope in self.scopes):
            wanted = " or ".join(self.names)
            _record_refusal(403, f"no scope {wanted}", address)
            raise Forbidden(f"this key has no scope {wanted}")
        if node is not None:
            node.keys.used(key, Use.API, address)
        return key

    @property
    def names(self) -> tuple[str, ...]:
        """Return the scopes as people write them."""
        return tuple(f"{TASKS}<pool>" if scope == TASKS else scope for scope in self.scopes)


def holds(request: HttpRequest, scope: str) -> bool:
    """Whether the request's key holds this scope; its route may need another one."""
    return scope in request.auth.scopes  # type: ignore[attr-defined]  # set by ninja


def may_use_pool(request: HttpRequest, pool: str) -> bool:
    """Whether the request's key holds the tasks of this pool."""
    return may_use(pool, request.auth.scopes)  # type: ignore[attr-defined]  # set by ninja


async def _find(secret: str, node: Node | None) -> Key | None:
    if node is None:
        return environment_key(secret, Use.API, get_conf())
    return await node.keys.find(secret, Use.API)


def _holds(key: Key, scope: str) -> bool:
    if scope == TASKS:
        return any(one.startswith(TASKS) for one in key.scopes)
    return scope in key.scopes


def _too_many(text: str, wait: float) -> TooManyRequests:
    metrics.rate_limited_api.inc()
    return TooManyRequests(text, wait)


def _record_refusal(code: int, reason: str, address: str) -> None:
    audit.record(Audit.REFUSED, surface="api", code=code, reason=reason, address=address)
