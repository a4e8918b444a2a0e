"""Prints the totals of pytest's reports and of the static checks, which count as one test each.

scripts/totals.py SOUND BROKEN FOLDER. Exits with 1 where something failed, or nothing ran.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

passed, failed, skipped = int(sys.argv[1]), int(sys.argv[2]), 0
for file in Path(sys.argv[3]).glob("junit-*.xml"):
    for suite in ElementTree.parse(file).iter("testsuite"):
        total, bad = int(suite.get("tests", 0)), int(suite.get("failures", 0))
        bad += int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
        failed += bad
        passed += total - bad - int(suite.get("skipped", 0))
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)
