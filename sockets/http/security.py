"""Who may use the HTTP API: backends with a key."""

from __future__ import annotations

import logging

from django.http import HttpRequest
from ninja.security import HttpBearer

from sockets.auth.keys import find_key
from sockets.conf import get_conf

logger = logging.getLogger(__name__)


class ApiKey(HttpBearer):
    """`Authorization: Bearer <secret of an entry of API_KEYS>`. Never a key in a query."""

    openapi_description = "The secret of an entry of API_KEYS."

    async def authenticate(self, request: HttpRequest, token: str) -> str | None:
        """The key's name; it is what the request is called in the log."""
        return find_key(token, get_conf().api_keys)
