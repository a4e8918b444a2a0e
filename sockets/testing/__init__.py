"""Tests of a project that notifies: what would have been sent is in `outbox`, as mail is.

    from sockets.testing import outbox

    def test_an_order_that_is_paid_is_told(client, order):
        client.post(f"/orders/{order.pk}/pay")
        (sent,) = outbox
        assert (sent.user, sent.event) == (str(order.user_id), "order.paid")

In use wherever Django's test environment is set up, so that no test reaches a gateway or a Redis.
With pytest the outbox is emptied between tests by itself; for Django's own runner put
`EmptyOutbox` before `TestCase`.
"""

from __future__ import annotations

from typing import Any

from sockets.api.outbox import Sent, outbox

__all__ = ["EmptyOutbox", "Sent", "outbox"]


class EmptyOutbox:
    """Mixed into a TestCase: each of its tests begins with an empty outbox."""

    def run(self, result: Any = None) -> Any:
        outbox.clear()  # not in `setUp`, which test cases replace without calling this one
        return super().run(result)  # type: ignore[misc]  # of the TestCase after it
