"""The Python package as somebody installs it: its wheel, and webhooks in three frameworks."""

from __future__ import annotations

import re
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

import gateway_client
from tests.packaging.environments import Environment, make
from tests.support.gateway import ROOT

FOLDER: Final = ROOT / "clients" / "python"
PAGE: Final = (ROOT / "docs" / "python-client.md").read_text()
SECRET, BODY = (
    "of-the-packaging-tests",
    '{"events":[{"id":"1","type":"user_online","user":"42","at":1}]}',
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install ./clients/python` makes, and the frameworks that the page shows."""
    folder = tmp_path_factory.mktemp("client")
    return make(folder / "env", str(FOLDER), "django", "fastapi==0.165.0", "flask==3.1.3")


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
    ]
    subprocess.run([*command, str(FOLDER)], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.iterdir()
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith("/METADATA")]
        told = HeaderParser().parsestr(archive.read(metadata).decode())
    own = {name for name in names if not name.startswith(metadata.partition("/")[0])}
    sources = {*FOLDER.glob("gateway_client/*.py"), FOLDER / "gateway_client" / "py.typed"}
    assert own == {str(file.relative_to(FOLDER)) for file in sources}
    assert (told["Name"], told["Version"]) == ("django-gateway-client", gateway_client.__version__)
    assert told["Requires-Python"] == ">=3.10"
    asked = {re.split("[><=]", one)[0] for one in told.get_all("Requires-Dist", [])}
    assert asked == {"httpx", "msgspec", "websockets"}


def test_its_command_teaches(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("-m", "gateway_client", "worker", "--help", cwd=tmp_path)
    assert "python -m gateway_client worker images:worker" in done.stdout


def test_it_needs_no_django(installed: Environment, tmp_path: Path) -> None:
    code = (
        "import gateway_client, sys; print([m for m in ('django', 'sockets') if m in sys.modules])"
    )
    assert installed.run("-c", code, cwd=tmp_path).stdout == "[]\n"


ASK: Final = {
    "django": """
import django
from django.conf import settings
from django.urls import path
settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
django.setup()
urlpatterns = [path("gateway/events", gateway_events)]
from django.test import Client

def ask(headers, body):
    answer = Client().post("/gateway/events", body, "application/json", headers=headers)
    return answer.status_code
""",
    "fastapi": """
from fastapi.testclient import TestClient

def ask(headers, body):
    return TestClient(app).post("/gateway/events", content=body, headers=headers).status_code
""",
    "flask": """
def ask(headers, body):
    return app.test_client().post("/gateway/events", data=body, headers=headers).status_code
""",
}


@pytest.mark.parametrize("framework", ASK)
def test_webhooks(installed: Environment, tmp_path: Path, framework: str) -> None:
    """The code of the page, asked as the gateway asks, and as a stranger does."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (shown,) = [text for text in blocks if re.search(rf"^from {framework}\b", text, re.M)]
    asked = f"""
import hashlib, hmac, time
body = {BODY!r}.encode()
now = int(time.time())
made = hmac.new({SECRET!r}.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()
good = {{"Gateway-Signature": f"t={{now}},v1={{made}}", "Gateway-Delivery": "d"}}
print(ask(good, body), ask(good, body + b" "), ask({{}}, body))
"""
    program = tmp_path / "receiver.py"
    program.write_text(shown + ASK[framework] + asked)
    done = installed.run(program, cwd=tmp_path, WEBHOOK_SECRET=SECRET)
    assert done.stdout.splitlines() == ["user_online 42", "204 403 403"], done.stdout
