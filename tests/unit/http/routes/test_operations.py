"""What a key may see of an answer to operators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sockets.auth.scopes import ADMIN, PRESENCE
from sockets.http.routes import operations
from sockets.reports import NodeReport, Overview
from tests.support.doubles import node_info


@pytest.mark.parametrize("scopes", [{PRESENCE}, {PRESENCE, ADMIN}])
async def test_where_a_node_runs_is_for_who_may_end_it(
    monkeypatch: pytest.MonkeyPatch, scopes: set[str]
) -> None:
    info = node_info("a", host="inner.test", pid=77, worker_url="ws://inner.test:1", clients=3)
    told = Overview(1.0, 3, 3, 0, [NodeReport(info, answered=True)], [], 10.0, [])

    async def overview(*, after: float, last: float | None) -> Overview:
        return told

    monkeypatch.setattr(operations, "aoverview", overview)
    request: Any = SimpleNamespace(auth=SimpleNamespace(scopes=frozenset(scopes)))
    (shown,) = (await operations.overview(request, after=0, last=None)).nodes
    assert (shown.info.name, shown.info.clients) == ("a", 3)
    assert (shown.info == info) is (ADMIN in scopes)
    assert ("inner" in repr(shown) or shown.info.pid == 77) is (ADMIN in scopes)
