"""What is wrong with settings, as it is told: by `check`, at a start, and by whoever reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one setting, or with several together.

    `names`: the variables that it concerns. `text`: one line with the variable, the fault and the
    remedy; it never shows a secret.
    """

    names: tuple[str, ...]
    text: str


class WrongSettings(ImproperlyConfigured):
    """Some settings are wrong: all the `faults` that were found, a line each."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(fault.text for fault in faults))
        self.faults = faults

    def __reduce__(self) -> tuple[Any, ...]:
        return WrongSettings, self.faults
