"""`manage.py asyncapi` is AsyncAPI, by the schema that its authors publish."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import pytest

import sockets
from sockets.protocol.asyncapi import asyncapi

SCHEMAS: Final = "@asyncapi/specs@6.11.1"
INSIDE: Final = "package/schemas/3.0.0-without-$id.json"


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("npm"):
        pytest.skip("the schema comes from npm")
    folder = tmp_path_factory.mktemp("asyncapi")
    subprocess.run(["npm", "pack", "--silent", SCHEMAS], cwd=folder, check=True, timeout=120)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extract(INSIDE, folder, filter="data")
    return folder / INSIDE


def valid(schema: Path, document: Path) -> bool:
    tool = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([tool, "--schemafile", schema, document], capture_output=True, timeout=60)
    return done.returncode == 0


def test_it_is(schema: Path, tmp_path: Path) -> None:
    made = asyncapi(version=sockets.__version__, client_url="wss://a/", worker_url="ws://b/ws")
    document = tmp_path / "document.json"
    document.write_text(json.dumps(made))
    assert valid(schema, document)
    made["operations"]["client.send"]["action"] = "shout"
    document.write_text(json.dumps(made))
    assert not valid(schema, document), "the schema says no to what it does not know"
