"""Rule 10: the line for whoever wants from a plain installation what only a server has."""

from __future__ import annotations

import tomllib

from sockets.base.extras import DISTRIBUTION, server_lacking
from tests.support.gateway import ROOT


def test_the_line_has_the_remedy() -> None:
    line = server_lacking("manage.py serve", ModuleNotFoundError("…", name="twisted"))
    assert line == (
        "manage.py serve needs the packages of a server, and twisted is not installed: "
        "pip install 'django-gateway[server]'"
    )


def test_it_names_what_is_distributed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
