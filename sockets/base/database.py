"""Connections to databases in threads of our own, which no request begins or ends."""

from __future__ import annotations

from django.db import close_old_connections, reset_queries


def tidy_connections() -> None:
    """Close connections of this thread that have had their time, and forget their queries.

    With DEBUG Django keeps the last 9,000 queries of each connection until a request begins: here
    that would be the rows of whole batches, for ever.
    """
    close_old_connections()
    reset_queries()
