"""Prints the totals of pytest's reports and of the static checks, which count as one test each.

scripts/totals.py SOUND BROKEN FOLDER [PART...], where each part is its name, "=", and "ok" or how
else it ended. Its report is junit-NAME.xml in FOLDER. A part counts as one failure where it has no
report, no test, or has not ended well and yet no failed test. Exits with 1 where something failed,
or nothing ran.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def counted(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped; none where the report is not whole."""
    total = failed = skipped = 0
    try:
        suites = list(ElementTree.parse(report).iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        suites = []
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


passed, failed, skipped = int(sys.argv[1]), int(sys.argv[2]), 0
for part in sys.argv[4:]:
    name, _, result = part.partition("=")
    good, bad, left_out = counted(Path(sys.argv[3]) / f"junit-{name}.xml")
    if not good + bad + left_out:
        print(f"{name}: no test is in its report, or it has none")
    if result != "ok" or not good + bad + left_out:
        bad = max(bad, 1)
    passed, failed, skipped = passed + good, failed + bad, skipped + left_out
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)
