"""No disk but DATA_DIR: a read-only root, or no folder for temporary files."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.support import warm
from tests.support.gateway import API_KEY, ROOT, SHORT, Gateway
from tests.support.peers import client

NO_TEMPORARY_FILES = """
import tempfile
tempfile._candidate_tempdir_list = lambda: []  # as where nothing can be written
"""
READ_ONLY = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
awk '$4 ~ /^rw/ {print $2}' /proc/self/mounts | while read -r place; do
    [ "$place" = "$1" ] || mount -o remount,bind,ro "$place" 2>/dev/null || true
done
! touch /tmp/gateway-probe 2>/dev/null
shift
exec "$@"
"""
AS_READ_ONLY = ("unshare", "-m", "sh", "-c", READ_ONLY, "sh")


class ReadOnly(Gateway):
    """Its root is read-only, and everything else but its DATA_DIR."""

    may_be_warm = False

    def spawn(self, *command: str) -> warm.Process:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*AS_READ_ONLY, str(self.data_dir), sys.executable, *command],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-m", "mount", "--make-rprivate", "/"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module", params=["no temporary files", "read-only root"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    path = tmp_path_factory.mktemp("read-only")
    environment = SHORT | {"DEMO": "true", "BODY_DEMO": "4000000"}
    if request.param == "read-only root":
        if not may_unshare():
            pytest.skip("needs mount namespaces")
        made: Gateway = ReadOnly(path / "data", **environment)
    else:
        (path / "sitecustomize.py").write_text(NO_TEMPORARY_FILES)
        made = Gateway(path / "data", **environment, PYTHONPATH=str(path))
    made.migrate()
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0
    assert "Traceback" not in made.log(), made.log()


def ask(
    port: int, method: str, path: str, body: bytes = b"", *, chunked: bool = True, **headers: str
) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        given: Any = iter([body]) if chunked else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, given, named, encode_chunked=chunked)
        response = connection.getresponse()
        return response.status, response.read()


BEARER: dict[str, Any] = {"Authorization": f"Bearer {API_KEY}", "Content_Type": "application/json"}


async def test_bodies_of_every_kind(gateway: Gateway) -> None:
    peer = await client(gateway, "u")
    port = gateway.worker_port
    path = "/api/v1/users/u/messages"
    short = json.dumps({"event": "n", "data": 1}).encode()
    for chunked in (True, False):
        status, answer = ask(port, "POST", path, short, chunked=chunked, **BEARER)
        assert status in (200, 201, 202), answer
        while (heard := await peer.receive())["event"] != "n":
            pass  # the example tells of its workers
        assert heard["data"] == 1
        # Longer than what Twisted keeps in memory, and than what Django does.
        for size in (150_000, 3_000_000):
            one = {"event": "n", "user": "v", "data": "x" * 50_000}
            batch = json.dumps({"messages": [one] * (size // 50_000)}).encode()
            status, answer = ask(
                port, "POST", "/api/v1/messages/batch", batch, chunked=chunked, **BEARER
            )
            assert status < 300, (chunked, size, status, answer[:300])
        long = json.dumps({"event": "n", "data": "x" * 3_000_000}).encode()
        assert ask(port, "POST", path, long, chunked=chunked, **BEARER)[0] in (413, 422)
        # What nobody asked for is answered all the same.
        assert ask(gateway.client_port, "POST", "/nowhere", b"x" * 40, chunked=chunked)[0] == 404
        assert ask(gateway.client_port, "POST", "/healthz", b"x", chunked=chunked)[0] in (200, 405)
        too_long = ask(gateway.client_port, "POST", "/nowhere", b"x" * 70_000, chunked=chunked)
        assert too_long[0] == 413


def test_the_whole_api(gateway: Gateway) -> None:
    """Each operation with a chunked body is answered, by no 5xx but those that are meant."""
    port = gateway.worker_port
    document = json.loads(ask(port, "GET", "/api/v1/openapi.json", chunked=False, **BEARER)[1])
    asked = 0
    for path, operations in document["paths"].items():
        target = path.replace("{user}", "u").replace("{task_id}", "0" * 26)
        target = target.partition("{")[0] + "x" * target.count("{")
        for method in operations:
            status, answer = ask(
                port, method.upper(), target, b'{"event": "n", "data": 1}', **BEARER
            )
            assert status < 500, (method, target, status, answer)
            asked += 1
    assert asked > 10


def test_the_admin_and_uploads(gateway: Gateway) -> None:
    port = gateway.worker_port
    assert ask(port, "GET", "/admin/login/", chunked=False)[0] == 200
    boundary = b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n"
    form = boundary + b"x" * 3_000_000 + b"\r\n--b--\r\n"
    for chunked in (True, False):
        kind = {"Content_Type": "multipart/form-data; boundary=b"}
        assert ask(port, "POST", "/admin/login/", form, chunked=chunked, **kind)[0] == 403  # CSRF
    assert os.listdir(gateway.data_dir)
