"""The benchmark of the operations room, in small: each page is asked for and its cost noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.operations.__main__ import table
from bench.operations.pages import PAGES
from bench.operations.room import Scale, opened
from bench.peers.load import NoCompiler, compiled

SMALL = Scale(sessions=20, messages=1, workers=1, refused=2, rows=10, requests=1, pause=0)


def test_every_page_has_its_costs(tmp_path: Path) -> None:
    try:
        program = compiled(tmp_path)
    except NoCompiler as error:
        pytest.skip(str(error))
    with opened(SMALL, program) as room:
        costs = dict(room.costs())
        assert room.lost() == 0
    assert list(costs) == [page.title for page in PAGES]
    for title, (one,) in costs.items():
        assert one.seconds > 0 and one.web > 0 and one.size > 50, title
        assert 1 < one.queries < 30, title
    assert costs["live sessions, newest first"][0].commands > 0
    assert table(costs.items()).count("\n") == 1 + len(PAGES)
