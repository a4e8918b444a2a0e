"""What histograms gained while a test did something."""

from __future__ import annotations

from sockets.base.histograms import Observations


class Observed:
    """What this one has counted since now."""

    def __init__(self, child: object) -> None:
        assert isinstance(child, Observations)
        self._child = child
        self._before = child.read()

    @property
    def count(self) -> int:
        """How many observations."""
        return self._child.read()[0][-1] - self._before[0][-1]

    @property
    def sum(self) -> float:
        """Their sum."""
        return self._child.read()[1] - self._before[1]
