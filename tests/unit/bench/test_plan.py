"""Which rounds an invocation has, and how long it may take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.peers.__main__ import (
    FULL,
    QUICK,
    STANDARD,
    Plan,
    arguments,
    contestants,
    page,
    plan_of,
    rounds,
    takes_part,
)
from bench.peers.contestants import Ours, SocketIo, Ws
from bench.peers.figures import FIGURES, GROUPS
from bench.peers.rounds import ROUNDS


def test_the_standard_run_fits_in_ten_minutes_and_the_quick_one_in_two() -> None:
    assert STANDARD.minutes < 10 and QUICK.minutes < 2


def test_the_full_run_has_the_pairs_that_a_must_asks_for() -> None:
    assert FULL.rounds.count("small") == FULL.rounds.count("large") == 9
    assert FULL.seconds.steady == 30 <= FULL.seconds.idle


def test_only_some_figures_need_only_some_rounds() -> None:
    assert set(rounds(STANDARD, {"idle"})) == {"large"}
    assert set(rounds(QUICK, {"idle"})) == {"quick"}
    assert set(rounds(STANDARD, {"steady", "burst"})) == {"small"}
    assert rounds(STANDARD, {"storm"}) == ["storm"] * 3
    assert rounds(QUICK, {"scale"}) == ["scale"]
    assert rounds(QUICK, {"beside"}) == ["beside"]
    assert rounds(FULL, {"storm"}) == ["storm"] * 3


@pytest.mark.parametrize("plan", [STANDARD, QUICK, FULL], ids=["standard", "quick", "full"])
@pytest.mark.parametrize("group", GROUPS)
def test_each_figure_has_a_round_that_measures_it(group: str, plan: Plan) -> None:
    kinds = {name: kind.groups for name, kind in ROUNDS.items()} | {"storm": {"storm"}}
    found = rounds(plan, {group})
    assert found and all(group in kinds[name] for name in found)


@pytest.mark.parametrize("name", ["small", "large", "quick", "beside", "storm", "scale"])
def test_what_it_replaces_is_in_all_but_scale_and_others_in_the_small_ones(name: str) -> None:
    assert takes_part(Ours(Path()), name)
    assert takes_part(Ws(), name) == (name != "scale")
    assert takes_part(SocketIo(), name) == (name in ("small", "quick"))


def test_a_page_says_what_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--quick", "--write", str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", ["peers", *given])
    text = page("| a | table |", arguments(given))
    assert text.startswith(f"`scripts/bench peers {' '.join(given)}` on ")
    assert text.endswith("\n\n| a | table |\n")


def test_a_page_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(SystemExit):
            arguments(["--write", str(wrong)])
        assert f"{wrong} cannot be written" in capsys.readouterr().err


def test_who_is_measured() -> None:
    def names(*given: str) -> list[str]:
        return [one.name for one in contestants(arguments(given))]

    assert names() == ["ours", "ws"]
    assert names("--ours-only") == ["ours"]
    assert names("--against", ".") == ["ours", "before"]
    assert names("--all") == ["ours", "ws", "socketio", "python_socketio", "tutorial"]
    assert plan_of(arguments(["--quick"])) is QUICK


def test_a_figure_that_is_not_there_is_told_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        arguments(["--only", "idle,speed"])
    assert "there is no figure speed; there are idle, connect" in capsys.readouterr().err


def test_the_help_names_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--help"])
    told = capsys.readouterr().out
    assert all(figure.group in told for figure in FIGURES)
