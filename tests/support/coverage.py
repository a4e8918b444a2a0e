"""Print what the quick tests reach of each room: python -m tests.support.coverage FILE.

FILE is slipcover's JSON. It shows where nobody looks; it is no bar to get over.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

LEAST = 5
"""Files that are named, those of which least is reached."""


def room_of(file: str) -> str:
    """Return the room of a file: `sockets/node`, or `sockets` for what stands at the top."""
    return "/".join(file.split("/")[:-1][:2])


def table(files: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines to print: rooms, then the least reached files, then the whole."""
    counts: dict[str, Counter[str]] = {}
    for name, file in files.items():
        if "/migrations/" not in name:
            for key in (room_of(name), "all"):
                counts.setdefault(key, Counter()).update(_counted(file["summary"]))
    least = sorted(files, key=lambda name: files[name]["summary"]["percent_covered"])[:LEAST]
    whole = counts.pop("all", Counter())
    return [
        "reached by the quick tests     lines  branches",
        *(_line(room, count) for room, count in sorted(counts.items())),
        _line("all", whole),
        "least: " + ", ".join(least),
    ]


def _counted(summary: dict[str, Any]) -> dict[str, int]:
    return {key: int(summary[key]) for key in summary if not key.startswith("percent")}


def _line(name: str, count: Counter[str]) -> str:
    lines = _share(count["covered_lines"], count["missing_lines"])
    branches = _share(count["covered_branches"], count["missing_branches"])
    return f"{name:<30} {lines:>5} {branches:>9}"


def _share(reached: int, missed: int) -> str:
    return f"{100 * reached / (reached + missed):.0f} %" if reached + missed else "–"


if __name__ == "__main__":
    print("\n".join(table(json.loads(Path(sys.argv[1]).read_text())["files"])))
