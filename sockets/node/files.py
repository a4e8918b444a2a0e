"""The process' limit of open files, and what of it is not for strangers.

A descriptor is always the lowest free number. So one whose number is N shows that N others are
open, without counting them.
"""

from __future__ import annotations

import os
import resource
from typing import Final

PART: Final = 8
"""One in so many descriptors is not for the public port ..."""

MOST: Final = 128
"""... but at most so many."""


def limit() -> int:
    """How many files this process may open; RLIM_INFINITY: any number."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_spare(descriptor: int) -> bool:
    """Whether strangers may have this one: the last ones are kept for the private port, the
    database and Redis."""
    most = limit()
    return most == resource.RLIM_INFINITY or descriptor < most - min(most // PART, MOST)


def any_spare() -> bool:
    """Whether the next connection to the public port would be taken."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(descriptor)
    return is_spare(descriptor)
