"""How deep JSON is nested: one limit, whatever the stack of this Python allows."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

DEEPEST: Final = 900
"""Arrays and objects within each other. Python 3.11 gives up at about 950, 3.13 at 10,000."""

# Not `(?:…)*+`, which Python before 3.11.5 gets wrong (gh-106052).
_TEXTS = re.compile(rb'"(?>(?:[^"\\]++|\\.)*)"', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_OTHERS = bytes(set(range(256)) - _STEPS.keys())


def require_shallow(written: bytes | str) -> None:
    """Raise RecursionError if this JSON is nested more than DEEPEST deep.

    Linear in its length; next to nothing where there are few brackets.
    """
    if isinstance(written, str):
        if written.count("[") + written.count("{") <= DEEPEST:
            return
        written = written.encode("utf-8", "replace")
    elif written.count(b"[") + written.count(b"{") <= DEEPEST:
        return
    brackets = _TEXTS.sub(b"", written).translate(None, _OTHERS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > DEEPEST:
        raise RecursionError("it is nested too deeply")
