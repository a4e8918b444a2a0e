"""Values that somebody wrote by hand, put into the form of a dataclass' fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sockets.base.client_address import Trusted
from sockets.base.forms import formed


@dataclass
class Given:
    count: int = 0
    seconds: float = 0.0
    names: tuple[str, ...] = ()
    place: Path = Path()
    proxies: Trusted = field(default_factory=Trusted)


def test_values_get_their_form() -> None:
    values, wrong = formed(
        Given, {"count": 1, "seconds": 2, "names": ["a"], "place": "~", "proxies": "2"}
    )
    assert wrong == {}
    assert Given(**values) == Given(1, 2.0, ("a",), Path.home(), Trusted(count=2))


def test_all_that_is_wrong_is_told_without_values() -> None:
    given = {"count": "hunter2", "names": "hunter2", "seconds": float("inf"), "counts": 1, 5: 1}
    values, wrong = formed(Given, given)
    assert values == {}
    assert set(wrong) == {"count", "names", "seconds", "counts", "5"}
    assert "perhaps 'count' is meant" in wrong["counts"]
    assert "hunter2" not in " ".join(wrong.values())
