"""Tables of what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.peers.figures import FIGURES, Figure, Of, Samples
from bench.peers.ratios import CONFIDENCE, Interval, Ratio, interval, ratio

HEAD = ("figure", "unit", "ours", "{peer}", "ours : {peer}", "90 % interval", "must", "met")
ENOUGH_PAIRS, ENOUGH_SECONDS = 9, 30.0
"""What a must asks of a measurement before it counts."""


def number(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Return rows, the first of which is the head, as a table that is readable as text too."""
    head, *body = [list(row) for row in rows]
    widths = [max(len(row[place]) for row in [head, *body]) for place in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = []
    for row in (head, rule, *body):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison(ours: Samples, theirs: Samples, peer: str) -> str:
    """Return the table of ours beside one peer; rows of which nothing was measured are left out.

    A must is on the ratio to `ws`, so beside another peer there is none.
    """
    rows = [[cell.format(peer=peer) for cell in HEAD]]
    for figure in FIGURES:
        if values := ours.get(figure.key):
            rows.append(_row(figure, values, theirs.get(figure.key, [])))
    if not theirs:
        rows = [[*row[:3], *row[5:]] for row in rows]
    elif peer != "ws":
        rows = [row[:6] for row in rows]
    return markdown(rows)


def _row(figure: Figure, ours: Sequence[float], theirs: Sequence[float]) -> list[str]:
    of_pairs = ratio(ours, theirs)
    unit = f" {figure.unit}" if figure.of is Of.OURS and figure.unit else ""
    judged: float | None = None
    spread: Interval | None = None
    if figure.of is Of.OURS:
        judged, spread = median(ours), interval(ours)
    elif of_pairs:
        judged, spread = of_pairs.median, of_pairs.interval
    met = None if judged is None else figure.met(judged)
    return [
        figure.title,
        figure.unit,
        number(median(ours)),
        number(median(theirs)) if theirs else "",
        number(of_pairs.median) if of_pairs else "",
        f"{number(spread.low)} to {number(spread.high)}{unit}" if spread else "",
        "" if figure.must is None else f"{'≥' if figure.more else '≤'} {figure.must:g}{unit}",
        {None: "", True: "yes", False: "no"}[met],
    ]


def verdict(ours: Samples, theirs: Samples, peer: str) -> str:
    """Return where ours is better, where it is worse, and where nobody can tell. Of fewer than five
    pairs nobody can be sure: they have a question mark."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "not to be told apart": []}
    for figure in FIGURES:
        if of_pairs := ratio(ours.get(figure.key, []), theirs.get(figure.key, [])):
            found[_standing(figure, of_pairs)].append(
                f"{_full_title(figure)} ({number(of_pairs.median)}{_doubt(of_pairs)})"
            )
    lines = [f"Ours against {peer}, as ratios:"]
    lines += [f"* {standing}: {', '.join(some)}" for standing, some in found.items() if some]
    return "\n".join(lines)


def _standing(figure: Figure, found: Ratio) -> str:
    low, high = found.interval.low, found.interval.high
    if low <= 1 <= high:
        return "not to be told apart"
    return "better" if (low > 1) is figure.more else "worse"


def _doubt(found: Ratio) -> str:
    return "" if found.interval.confidence >= CONFIDENCE else "?"


def _full_title(figure: Figure) -> str:
    """Return a title that can stand alone: "… Redis" says of what."""
    if not figure.title.startswith("… "):
        return figure.title
    before = FIGURES[: FIGURES.index(figure)]
    whole = next(one for one in reversed(before) if not one.title.startswith("… "))
    return f"{whole.title.removesuffix(': service')}: {figure.title[2:]}"


def caution(pairs: Mapping[str, int], seconds: float) -> str:
    """Return why the column `met` does not count yet; "" where it does."""
    fewest = min(pairs.values(), default=0)
    if fewest >= ENOUGH_PAIRS and seconds >= ENOUGH_SECONDS:
        return ""
    return (
        f"The fewest pairs of a figure are {fewest}, of {seconds:g} s. A must counts from "
        f"{ENOUGH_PAIRS} pairs of {ENOUGH_SECONDS:g} s (`--full`). The interval of fewer than five "
        "pairs is all that there is, and a question mark says so."
    )


def deliveries(title: str, tally: Counter[str]) -> str:
    """Return what was checked, in a line."""
    wrong = [f"{name} {tally[name]}" for name in sorted(tally) if name != "received"]
    return f"{title}: {tally['received']:,} deliveries and replies checked; {', '.join(wrong)}"
