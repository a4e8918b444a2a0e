"""Where the audit log of `serve` goes in a project whose LOGGING does not name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import ROOT, Gateway
from tests.support.peers import upgrade

TOLD = "LOGGING has no handler for gateway.audit"
STOCK = "LOGGING, LOGGING_CONFIG = {}, 'logging.config.dictConfig'"
ROOT_HANDLED = """
LOGGING_CONFIG = 'logging.config.dictConfig'
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
"""


@pytest.mark.parametrize(("lines", "added"), [(STOCK, 1), (ROOT_HANDLED, 0)])
def test_serve_adds_stderr_where_nobody_handles_it(tmp_path: Path, lines: str, added: int) -> None:
    """Rule 17."""
    (tmp_path / "log_settings.py").write_text(f"from gateway.settings import *\n{lines}\n")
    gateway = Gateway(
        tmp_path / "data",
        DJANGO_SETTINGS_MODULE="log_settings",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )
    gateway.migrate()
    gateway.start()
    try:
        origin = "Origin: https://stranger.example"
        assert upgrade(gateway.client_port, header=origin).status == 403
    finally:
        gateway.stop()
    log = gateway.log()
    assert log.count(TOLD) == added
    told = [line for line in log.splitlines() if "stranger.example" in line and "[info" in line]
    assert len(told) == added, log
    assert log.splitlines().count("refused") == 1 - added, log
