"""The operations room over fixed values, as a site of its own: python -m tests.support.fixed_room

Serves the admin on a free port of the loopback and prints it as its first line; ends with its
standard input. A staff user `staff` has every permission, `reader` none to do anything. What is
live changes where a test says so: `POST /fixed/` takes JSON of what to do (see `Fixed`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

PASSWORD = "only-for-tests-9421"
_ROOT = Path(__file__).parents[2]


class Room:
    """The process that shows it, as others see it. `base`: its address."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def set(self, **what: Any) -> None:
        """Change what is true there; see `Fixed`."""
        body = json.dumps(what).encode()
        request = urllib.request.Request(f"{self.base}/fixed/", body, method="POST")
        urllib.request.urlopen(request, timeout=20).close()


@contextmanager
def running_room() -> Iterator[Room]:
    """Run it in a process of its own."""
    command = [sys.executable, "-m", "tests.support.fixed_room"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=_ROOT, text=True, **pipes) as process:
        assert process.stdout is not None and process.stdin is not None
        yield Room(int(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(30) == 0


class Fixed:
    """What a test may change, by name."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def sessions(self, numbers: list[int]) -> None:
        """Let these be live, and in this order."""
        from tests.unit.admin.operations import values

        found = self.source.answers["find_live_sessions"]
        sessions = [values.live(number, user=f"user-{number}") for number in numbers]
        self.source.answers["find_live_sessions"] = replace(
            found, sessions=sessions, matching=len(sessions)
        )

    def fail(self, text: str) -> None:
        """Let every question fail with this text; "" no more."""
        from sockets.exceptions import GatewayUnavailable

        self.source.error = GatewayUnavailable(text) if text else None

    def invent(self) -> None:
        """Let all of it be of a shop that is made up, and of now: for pictures."""
        from tests.support.invented_shop import answers

        self.source.answers |= answers()

    def log_out(self) -> None:
        """End every login."""
        from django.contrib.sessions.models import Session

        Session.objects.all().delete()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """The tests' output is no access log."""


def set_up(folder: str) -> Any:
    os.environ.update(ENV_FILE=os.devnull, ENVIRONMENT="test", DATA_DIR=folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
    from django.conf import settings

    settings.MIDDLEWARE = [
        "tests.support.fixed_room.policy",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    settings.ROOT_URLCONF = "tests.support.fixed_room_urls"
    # Others take half a second of a core for each login.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    import django

    django.setup()
    from django.contrib.auth.models import Permission, User
    from django.core.management import call_command

    from sockets.admin.operations import source
    from tests.unit.admin.operations.values import FixedSource

    call_command("migrate", verbosity=0)
    User.objects.create_superuser("staff", "a@b.test", PASSWORD)
    reader = User.objects.create_user("reader", is_staff=True, password=PASSWORD)
    reader.user_permissions.set(
        Permission.objects.filter(content_type__app_label="sockets", codename__startswith="view_")
    )
    _rows()
    fixed = FixedSource()
    for name in [name for name in vars(source) if name in fixed.names]:
        setattr(source, name, getattr(fixed, name))
    return fixed


def _rows() -> None:
    """A history of sixty sessions, the newest of them live."""
    from datetime import UTC, datetime, timedelta

    from sockets.models import Session
    from tests.unit.admin.operations import values

    begin = datetime.fromtimestamp(values.NOW, UTC)
    Session.objects.bulk_create(
        Session(
            id=values.session_id(number),
            kind="client" if number % 7 else "worker",
            user=f"user-{number}@a-company-with-a-long-name.example",
            client_id=values.client_id(number),
            node="gateway-node-1",
            address=f"203.0.113.{number}:49152",
            agent=values.CHROME,
            connected_at=begin - timedelta(minutes=number),
            disconnected_at=None if number < 9 else begin,
            close_code=None if number < 9 else (1001, 1006, 4503)[number % 3],
            close_reason="" if number % 3 else "another connection",
        )
        for number in range(1, 61)
    )


def policy(get_response: Any) -> Any:
    """As our own project has it for its admin."""
    from sockets.http.middleware.headers import ADMIN

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = ADMIN
        return response

    return middleware


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fixed = Fixed(set_up(folder))
        from django.contrib.staticfiles.handlers import StaticFilesHandler
        from django.core.wsgi import get_wsgi_application

        site = StaticFilesHandler(get_wsgi_application())

        def application(environ: dict[str, Any], start: Any) -> Any:
            if environ["PATH_INFO"] != "/fixed/":
                return site(environ, start)
            told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            for name, value in told.items():
                getattr(fixed, name)(*([] if value is None else [value]))
            start("204 No Content", [])
            return []

        with make_server("127.0.0.1", 0, application, _Server, _Quiet) as server:
            print(server.server_port, flush=True)  # noqa: T201
            threading.Thread(target=server.serve_forever, daemon=True).start()
            sys.stdin.read()
            server.shutdown()


if __name__ == "__main__":
    main()
