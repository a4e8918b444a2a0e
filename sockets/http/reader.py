"""The bodies of the HTTP API: JSON as RFC 8259 has it, and nothing that nobody could write."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from sockets.exceptions import BadFrame
from sockets.protocol.codec import from_json


class Unreadable(ValueError):
    """A body that cannot be read; the text says why."""


class BodyReader(Parser):
    """Refuses what Python's own reader takes: NaN, numbers that are infinite, and half of a
    surrogate pair; and what it fails at: nesting that is deeper than its stack."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return from_json(request.body)
        except BadFrame as error:
            raise Unreadable(f"the body cannot be parsed: {error}") from None
