"""Rule 16: a gateway without history, from its start to its end: no row, and all else as before."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.gateway import SHORT, running
from tests.support.peers import client


async def test_no_row_is_written(tmp_path: Path) -> None:
    """Rule 16: and keys count as before, which need their table."""
    with running(tmp_path, SESSION_HISTORY="false", **SHORT) as gateway:
        secret = gateway.manage("create_key", "shop", "--scope=notify").stdout.strip()
        assert secret.startswith("gw_")
        tab = await client(gateway, "42")
        assert tab.welcome["user"] == "42"
        await tab.close()
        assert gateway.stop() == 0
        with sqlite3.connect(tmp_path / "gateway.sqlite3") as database:
            [counts] = database.execute(
                "select (select count(*) from sockets_session), "
                "(select count(*) from sockets_node), (select count(*) from sockets_accesskey)"
            ).fetchall()
        assert counts == (0, 0, 1)
        pruned = gateway.manage("prune_sessions")
        assert "SESSION_HISTORY is false" in pruned.stderr and "0 rows" in pruned.stdout
        assert "Traceback" not in gateway.log()
