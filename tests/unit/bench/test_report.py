"""The tables, and what they say of a must."""

from __future__ import annotations

from collections import Counter

from bench.peers.figures import FIGURES, Of, Samples
from bench.peers.report import (
    caution,
    comparison,
    deliveries,
    markdown,
    number,
    verdict,
)


def cells(table: str, title: str) -> list[str]:
    """Return the cells of the row with that title."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {title} ")]
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_numbers_have_the_digits_that_mean_something() -> None:
    assert [number(value) for value in (0.1234, 12.34, 123.4, 4930.2)] == [
        *("0.12", "12.3", "123", "4,930")
    ]


def test_a_table_is_aligned() -> None:
    assert markdown([["a", "b"], ["long", "1"]]) == ("| a    | b |\n| ---- | - |\n| long | 1 |")


def test_a_must_on_the_ratio() -> None:
    ours: Samples = {"burst durable": [20, 22, 24, 21, 23], "burst ephemeral": [7] * 5}
    theirs: Samples = {"burst durable": [10, 11, 12, 10, 11], "burst ephemeral": [10] * 5}
    table = comparison(ours, theirs, "ws")
    assert cells(table, "notify, burst, durable")[2:] == [
        *("22.0", "11.0", "2.00", "2.00 to 2.10", "≤ 1", "no")
    ]
    assert cells(table, "notify, burst, ephemeral")[-1] == "yes"


def test_a_must_on_our_own_figure_has_the_interval_of_that() -> None:
    ours: Samples = {"idle 0": [2.0, 2.5, 2.2], "connects scale": [0.5, 0.6, 0.4]}
    table = comparison(ours, {"idle 0": [1.0, 1.0, 1.0]}, "ws")
    row = cells(table, "idle, no client: service")
    assert row[4:] == ["2.20", "2.00 to 2.50 ms/s", "≤ 3 ms/s", "yes"]
    scaled = cells(table, "… 10,000 open : 2,000 open")
    assert scaled[2:4] + scaled[-2:] == ["0.50", "", "≥ 0.9 times", "no"]


def test_what_was_not_measured_has_no_row() -> None:
    table = comparison({"inbound": [1.0]}, {"inbound": [2.0]}, "ws")
    assert len(table.splitlines()) == 3


def test_ours_alone_has_no_columns_of_a_peer() -> None:
    row = cells(comparison({"inbound": [1.0]}, {}, "nobody"), "`send` with reply")
    assert row == ["`send` with reply", "us", "1.00", "", "≤ 3.5"]


def test_where_we_win_and_lose_is_said_only_where_the_interval_says_so() -> None:
    ours: Samples = {
        "inbound": [5, 5, 5, 5, 5],
        "broadcast burst": [1, 1, 1, 1, 1],
        "disconnect": [1, 3, 1, 3, 2],
        "connects 2000": [9, 9, 9, 9, 9],
        "idle 0": [2, 2, 2, 2, 2],
        "idle 0 redis": [9, 9, 9, 9, 9],
    }
    theirs = {key: [2.0] * 5 for key in ours}
    better, worse, unclear = verdict(ours, theirs, "ws").splitlines()[1:]
    assert "broadcast to 2,000, burst (0.50)" in better
    assert "connects a second, 2,000 open (4.50)" in better
    assert "`send` with reply (2.50)" in worse
    assert "idle, no client: Redis (4.50)" in worse
    assert "disconnect" in unclear and "idle, no client: service" in unclear


def test_of_few_pairs_nobody_is_sure() -> None:
    told = verdict({"inbound": [5, 5]}, {"inbound": [2, 2]}, "ws")
    assert told.endswith("worse: `send` with reply (2.50?)")


def test_a_must_counts_from_nine_long_pairs_on() -> None:
    assert caution({"a": 9, "b": 12}, 30) == ""
    assert "fewest pairs of a figure are 3" in caution({"a": 9, "b": 3}, 30)
    assert "of 5 s" in caution({"a": 9}, 5)


def test_deliveries_are_told_with_what_was_wrong() -> None:
    line = deliveries("ours", Counter(received=12345, lost=2, doubled=0))
    assert line == "ours: 12,345 deliveries and replies checked; doubled 0, lost 2"


def test_keys_are_told_apart_and_musts_of_ratios_have_a_peer() -> None:
    assert len({figure.key for figure in FIGURES}) == len(FIGURES)
    assert all(figure.of is Of.OURS for figure in FIGURES if figure.group in ("scale", "storm"))
