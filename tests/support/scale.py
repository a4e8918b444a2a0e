"""How large a fault test is: short in scripts/test, full in scripts/soak (SOAK=1)."""

from __future__ import annotations

import os

SOAK = os.environ.get("SOAK") == "1"


def scaled(full: int, short: int) -> int:
    """`full` under SOAK=1, else `short`: a count of clients, messages or rounds."""
    return full if SOAK else short
