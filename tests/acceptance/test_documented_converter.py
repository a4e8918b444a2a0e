"""The converter in 60 lines: what docs/python-worker.md shows is run as it stands there."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory
from PIL import Image

from sockets.base.ids import new_id
from tests.acceptance.test_tasks import until
from tests.support.gateway import API_KEY, ROOT, SHORT, WORKER_KEY, Gateway, running
from tests.support.patience import PATIENCE
from tests.support.peers import client

PAGE = (ROOT / "docs/python-worker.md").read_text()


def block(language: str, holding: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [text for text in blocks if holding in text]
    return str(found)


def test_it_is_as_long_as_it_says() -> None:
    parts = [block("python", "PIL"), block("python", "request"), block("html", "gateway.js")]
    written = [line for part in parts for line in part.splitlines() if line.strip()]
    assert 50 <= len(written) <= 66


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path / "data", **SHORT) as gateway:
        (tmp_path / "converter.py").write_text(block("python", "PIL"))
        (tmp_path / "images").mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "clients/python"),
            "WORKER_SOCKET_URL": f"ws://127.0.0.1:{gateway.worker_port}",
            "WORKER_KEY": WORKER_KEY,
            "IMAGES": str(tmp_path / "images"),
        }
        command = [sys.executable, "-m", "gateway_client", "worker", "converter:worker"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as worker:
            yield gateway
            worker.terminate()


@pytest.fixture
def convert(site: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The view."""
    monkeypatch.setenv("IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("API_KEY", API_KEY)
    names: dict[str, Any] = {}
    here = block("python", "request").replace(":4001", f":{site.worker_port}")
    exec(compile(here, "views.py", "exec"), names)
    yield names["convert"]
    names["gateway"].close()


async def test_the_converter(site: Gateway, tmp_path: Path, convert: Any) -> None:
    tab = await client(site, "42")
    image = io.BytesIO()
    Image.new("RGB", (4_000, 10)).save(image, "PNG")

    def upload(content: bytes) -> tuple[int, str]:
        task = new_id()
        sent = {"image": SimpleUploadedFile("a.png", content), "task": task}
        request = RequestFactory().post("/convert/", sent)
        request.user = User(pk=42)
        return convert(request).status_code, task

    async def taken(content: bytes) -> str:
        async with asyncio.timeout(PATIENCE):
            while True:
                status, task = await asyncio.to_thread(upload, content)
                if status == 202:
                    return task
                assert status == 503

    task = await taken(image.getvalue())
    told: list[dict[str, Any]] = []
    while not told or told[-1]["event"] == "task.progress":
        told.append(await tab.receive(30))
    assert all(frame["data"]["task"] == task for frame in told)
    done = told[-1]
    assert done["event"] == "task.done", done
    made = tmp_path / "images" / done["data"]["data"]["url"].removeprefix("/images/")
    with Image.open(made) as small:
        assert (small.format, small.size) == ("WEBP", (2_048, 5))
    await taken(b"no image")
    while (frame := await tab.receive(30))["event"] == "task.progress":
        pass
    assert (frame["event"], frame["data"]["error"]) == ("task.failed", "this is no image")
    await until(lambda: len([*(tmp_path / "images").iterdir()]) >= 3, "the uploads to be kept")
