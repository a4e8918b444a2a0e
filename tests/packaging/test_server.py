"""The installation with `[server]`, in an environment that has nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.packaging.conftest import Shop
from tests.support.gateway import ROOT, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client_at
from tests.test_house import documented


def test_what_the_pages_import_is_in_the_wheel(server: Shop) -> None:
    """Rule 18: every path that docs/ names."""
    assert len(documented()) > 30
    # Those for pytest are there where pytest is: unit/testing/test_fixtures.py.
    paths = [path for path in documented() if not path.startswith("sockets.testing.fixtures")]
    assert server.run(ROOT / "tests/support/import_paths.py", *paths) == ""


def test_the_project_is_sound(server: Shop) -> None:
    assert "no issues" in server.manage("check")


@contextmanager
def serving(shop: Shop, folder: Path) -> Iterator[dict[str, Any]]:
    """`manage.py serve` of the shop on free ports, which are given."""
    file, log = folder / "ports.json", folder / "log"
    ports = ("--client-port=0", "--worker-port=0", f"--ports-file={file}")
    with log.open("wb") as written:
        process = subprocess.Popen(
            [shop.environment.python, "manage.py", "serve", *ports],
            cwd=shop.folder,
            env={**shop.variables, "DATA_DIR": str(folder), "READY_LAG": "0"},
            stdout=written,
            stderr=written,
        )
    try:
        wait_for(lambda: file.exists() or process.poll() is not None, "the gateway", PATIENCE)
        assert file.exists(), log.read_text()
        yield json.loads(file.read_text())
    finally:
        process.terminate()
        code = process.wait(30)
    assert (code, "Traceback" in log.read_text()) == (0, False), log.read_text()


async def test_what_a_web_process_without_a_server_sends(
    plain: Shop, server: Shop, tmp_path: Path
) -> None:
    """Rule 10: tokens and notifications of the plain installation, and sockets of the other."""
    issue = "from sockets.tokens import issue_token; print(issue_token(77, aud='any'))"
    token = plain.run("-c", f"import django; django.setup(); {issue}").strip()
    with serving(server, tmp_path) as ports:
        at = f"ws://127.0.0.1:{ports['client_port']}/"
        peer = await client_at(at, subprotocols=["gateway.v1", f"gateway.bearer.{token}"])
        assert peer.welcome["user"] == "77"
        plain.manage("notify", "77", "order.paid", '{"order": 7}')
        message = await peer.receive()
        assert (message["event"], message["data"]) == ("order.paid", {"order": 7})
        await peer.close()
