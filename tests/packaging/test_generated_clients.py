"""Clients that public generators make of the OpenAPI document, against a running gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.packaging.environments import make
from tests.support.gateway import API_KEY, SHORT, Gateway, running

GENERATORS: Final = ("openapi-python-client==0.29.1", "@hey-api/openapi-ts@0.99.0")
TYPESCRIPT: Final = "typescript@5.9.3"

PYTHON: Final = """
import sys
from made import AuthenticatedClient
from made.api.messages import notify_user
from made.api.presence import presence_of_user
from made.api.sessions import list_sessions
from made.models import MessageIn, Problem, ReceiptOut

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)
user = "a/b 한"
receipt = notify_user.sync(user, client=client, body=MessageIn(event="hello", data={"n": 1}))
assert isinstance(receipt, ReceiptOut)
presence = presence_of_user.sync(user, client=client)
page = list_sessions.sync(client=client, limit=10)
wrong = notify_user.sync(user, client=client, body=MessageIn(event=""))
assert isinstance(wrong, Problem)
print(receipt.offset, presence.state.value, len(page.sessions), page.next_, wrong.code)
"""

SCRIPT: Final = """
import { client } from "./made/client.gen.js";
import { listSessions, notifyUser, presenceOfUser } from "./made/sdk.gen.js";

declare const process: { argv: string[] };
const [baseUrl, auth] = process.argv.slice(2);
client.setConfig({ baseUrl, auth });

const user = "a/b 한";
const body = { event: "hello", data: { n: 1 } };
const { data: receipt } = await notifyUser({ path: { user }, body });
const { data: presence } = await presenceOfUser({ path: { user } });
const { data: page } = await listSessions({ query: { limit: 10 } });
const { error } = await notifyUser({ path: { user }, body: { event: "" } });
const code = typeof error === "object" ? error.code : error;
console.log(receipt?.offset, presence?.state, page?.sessions.length, page?.next, code);
"""

OPTIONS: Final = {
    "compilerOptions": {
        "module": "nodenext",
        "target": "es2022",
        "lib": ["es2023", "dom", "dom.iterable"],
        "strict": True,
        "types": [],
        "rootDir": "src",
        "outDir": "out",
    },
    "include": ["src"],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("gateway"), **SHORT) as made:
        yield made


@pytest.fixture
def document(gateway: Gateway, tmp_path: Path) -> Path:
    """The document as the gateway gives it."""
    file = tmp_path / "openapi.json"
    url = gateway.http("/api/v1/openapi.json", private=True)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    file.write_bytes(httpx.get(url, headers=headers).raise_for_status().content)
    return file


def test_a_python_client(gateway: Gateway, document: Path, tmp_path: Path) -> None:
    environment = make(tmp_path / "env", GENERATORS[0])
    asked = ("generate", "--path", str(document), "--meta", "none", "--output-path", "made")
    done = environment.run("-m", "openapi_python_client", *asked, cwd=tmp_path)
    assert "WARNING parsing" not in done.stdout, done.stdout
    (tmp_path / "use.py").write_text(PYTHON)
    done = environment.run("use.py", gateway.http("", private=True), API_KEY, cwd=tmp_path)
    assert done.stdout == "1 offline 0 None invalid_request\n"


@pytest.mark.soak  # fetching its tools takes longer than all else here
def test_a_typescript_client(gateway: Gateway, document: Path, tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")

    def run(*command: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(tmp_path))}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout

    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    (tmp_path / "tsconfig.json").write_text(json.dumps(OPTIONS))
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "use.ts").write_text(SCRIPT)
    run(npm, "install", "--no-audit", "--no-fund", GENERATORS[1], TYPESCRIPT)
    tools = tmp_path / "node_modules" / ".bin"
    made = ("-i", str(document), "-o", "src/made", "-c", "@hey-api/client-fetch")
    run(str(tools / "openapi-ts"), *made)
    run(str(tools / "tsc"))
    told = run("node", "out/use.js", gateway.http("", private=True), API_KEY)
    assert told.split()[1:] == ["offline", "0", "null", "invalid_request"]
