"""What an operator sees: one line and exit code 1, static files in production, clean logs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import RequestFactory

from sockets.logs import LEVELS, configure, logging_config

ROOT = Path(__file__).resolve().parents[3]
SECRET = "0123456789abcdef" * 2


def manage(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize("command", ["serve", "migrate", "check"])
def test_a_wrong_value_is_one_line_and_exit_code_1(command: str) -> None:
    done = manage(command, CLIENT_SOCKET_PORT="banana")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "CLIENT_SOCKET_PORT: 'banana' is not a whole number; write digits only\n"
    )


def test_all_wrong_values_are_told_at_once() -> None:
    done = manage("serve", CLIENT_SOCKET_PORT="banana", LEASE_TTL="1", AUTH="ldap")
    assert (done.returncode, done.stdout) == (1, "")
    names = [line.partition(": ")[0] for line in done.stderr.splitlines()]
    assert names == ["CLIENT_SOCKET_PORT", "AUTH", "LEASE_TTL"]


def test_production_without_collected_files_says_so(tmp_path: Path) -> None:
    script = (
        "import pathlib, django; from django.conf import settings; django.setup();"
        f"settings.STATIC_ROOT = pathlib.Path({str(tmp_path / 'none')!r});"
        "from sockets.http.middleware.static import StaticMiddleware;"
        "StaticMiddleware(lambda request: None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "ENVIRONMENT": "production",
            "SECRET_KEY": SECRET,
            "JWT_SECRET": SECRET[::-1],
            "AUTH": "jwt",
            "DEMO": "",
        },
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "collectstatic" in done.stderr.splitlines()[-1]


class TestLogs:
    @pytest.fixture(autouse=True)
    def restore(self) -> object:
        from django.conf import settings

        yield
        configure(settings.LOGGING)

    def line(self, capsys: pytest.CaptureFixture[str], text: str, *arguments: object) -> str:
        configure(logging_config(logging.INFO, json=True))
        logging.getLogger("sockets.test").info(text, *arguments)
        return capsys.readouterr().err

    def test_production_writes_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = json.loads(self.line(capsys, "opened %s", "한"))
        assert line["event"] == "opened 한"
        assert line["level"] == "info"
        assert line["logger"] == "sockets.test"
        assert line["timestamp"].endswith("Z")

    @pytest.mark.parametrize(
        "text",
        [
            "GET /?client_id=1&token=hunter2 403",
            "GET /?TOKEN=hunter2&epoch=1",
            "protocols gateway.v1, gateway.bearer.hunter2.hun.ter",
            "Authorization: Bearer hunter2",
        ],
    )
    def test_tokens_are_blotted_out(self, capsys: pytest.CaptureFixture[str], text: str) -> None:
        line = self.line(capsys, text)
        assert "hunter2" not in line
        assert "[redacted]" in line

    @pytest.mark.parametrize("as_json", [True, False])
    def test_a_token_in_an_object(self, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
        """Django adds the request to its lines, and its repr has the query."""
        configure(logging_config(logging.INFO, json=as_json))
        request = RequestFactory().get("/x?token=hunter2")
        extra = {"request": request, "more": {"list": ['a "?token=hunter2"']}}
        logging.getLogger("django.test").error("failed", extra=extra)
        line = capsys.readouterr().err
        assert "hunter2" not in line
        if as_json:
            assert "[redacted]" in json.loads(line)["request"]

    @pytest.mark.parametrize("as_json", [True, False])
    def test_structlog_and_exceptions(
        self, capsys: pytest.CaptureFixture[str], as_json: bool
    ) -> None:
        import structlog

        configure(logging_config(logging.INFO, json=as_json))
        try:
            secret_local = "hunter2"  # a traceback must not show the frame's values
            raise ValueError(f"no /?token={secret_local}")
        except ValueError:
            structlog.get_logger("sockets.other").exception("failed", session="s1")
        output = capsys.readouterr().err
        if as_json:
            line = json.loads(output)
            assert (line["event"], line["session"]) == ("failed", "s1")
        assert "ValueError" in output
        assert "secret_local" not in output
        assert "hunter2" not in output

    def test_levels_of_both_worlds(self) -> None:
        for name in ("debug", "info", "warning", "error", "critical"):
            assert LEVELS[name] == getattr(logging, name.upper())
        assert LEVELS["warn"] == logging.WARNING
        assert LEVELS["silly"] == LEVELS["verbose"] == LEVELS["trace"] == logging.DEBUG
        assert LEVELS["silent"] > logging.CRITICAL
