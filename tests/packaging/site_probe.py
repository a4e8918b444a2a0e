"""Runs in the clean environment: a web process of the shop under WSGI. Prints what it saw, as JSON.

    python site_probe.py

It imports nothing of the tests, which are not installed there.
"""

from __future__ import annotations

import sys

import sockets.api  # before Django is set up: a module of models may do so

EARLY = sorted(sys.modules)

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from typing import Any  # noqa: E402
from wsgiref.util import setup_testing_defaults  # noqa: E402

from django.core.wsgi import get_wsgi_application  # noqa: E402

APPLICATION: Any = get_wsgi_application()

from django.contrib.auth import get_user_model  # noqa: E402
from django.test import Client  # noqa: E402

logged: list[str] = []


class Kept(logging.Handler):
    """Keeps what the gateway complains of."""

    def emit(self, record: logging.LogRecord) -> None:
        logged.append(record.getMessage())


def paid() -> dict[str, Any]:
    """What the view answers to a request by WSGI."""
    request: dict[str, Any] = {"PATH_INFO": "/paid/"}
    setup_testing_defaults(request)
    begun: list[str] = []
    body = b"".join(APPLICATION(request, lambda status, headers, _=None: begun.append(status)))
    return {"status": begun[0], **json.loads(body)}


def in_threads() -> list[int]:
    with ThreadPoolExecutor(8) as pool:
        return sorted(answer["offset"] for answer in pool.map(lambda _: paid(), range(8)))


def in_child() -> dict[str, Any]:
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, json.dumps(paid()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def new_password() -> list[str]:
    """What the gateway complains of when the password of a user is changed, and the time it took:
    `django_accounts` asks Redis to refuse what was proved before."""
    user = get_user_model().objects.create_user("kim", password="first")
    user.set_password("second")
    began = time.monotonic()
    user.save()
    assert time.monotonic() - began < 10
    return logged


def in_the_admin() -> dict[str, int]:
    """The status of each page of ours, for a superuser."""
    staff = get_user_model().objects.create_superuser("chief", password="x")
    client = Client(headers={"host": "localhost"})
    client.force_login(staff)
    pages = ("session", "node", "accesskey", "accesskey/add")
    return {page: client.get(f"/admin/sockets/{page}/").status_code for page in pages}


logging.getLogger("sockets").addHandler(Kept())
answers = {
    "early": len(EARLY),
    "first": paid(),
    "threads": in_threads(),
    "child": in_child(),
    "complaints": new_password(),
    "admin": in_the_admin(),
    "where": sockets.api.__file__,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}
json.dump(answers, sys.stdout)
