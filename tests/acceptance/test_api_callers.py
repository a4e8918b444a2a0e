"""The Python API in processes that are no node: any order, threads, forks, greenlets, shells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateway import ROOT
from tests.support.scale import SOAK
from tests.support.valkey import Server

WAYS = (
    "async-first",
    "threads",
    "forks",
    "forks-in-mid-call",
    "late-gevent",
    *("gevent", "gevent-crowd", "gevent-with-a-loop"),
    *("eventlet", "eventlet-async-first", "eventlet-forks"),
)
MORE = (
    "shell",  # as whoever forks does, too
    "reversed",  # as the greenlets do, too
    *("gevent-async-first", "gevent-forks", "gevent-forks-in-mid-call"),
    *("eventlet-crowd", "eventlet-with-a-loop", "eventlet-forks-in-mid-call"),
)
"""What others of `WAYS` do, too; of both libraries of greenlets, what the other one does."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "way", [*WAYS, *(pytest.param(way, marks=pytest.mark.soak) for way in MORE)]
)
def test_every_function_works_however_it_is_called(way: str, tmp_path: Path, redis: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.acceptance.api_caller", way],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "ENV_FILE": "/dev/null",
            "ENVIRONMENT": "test",
            "DATA_DIR": str(tmp_path),
            "NODE_NAME": "tools",
            "REDIS_URL": redis.url,
            "SOAK": "1" if SOAK else "",
        },
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr[-3_000:]
    assert "Traceback" not in done.stderr, done.stderr[-3_000:]
