"""What is wrong with variables, one line each, and the items of lists that can be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sockets.auth.tokens import public_key
from sockets.conf import Fault, WrongSettings

LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
LABEL_RULE = "1 to 64 of A-Z a-z 0-9 . _ -"


class Wrong(WrongSettings):
    """One variable has a wrong value. `also`: other variables without which it would be right."""

    def __init__(self, name: str, fault: str, remedy: str, *, also: Iterable[str] = ()) -> None:
        super().__init__(Fault((name, *also), f"{name}: {fault}; {remedy}"))


class Items:
    """The faults of a list's items, which are told together."""

    def __init__(self) -> None:
        self._wrong: list[WrongSettings] = []

    @contextmanager
    def each(self) -> Iterator[None]:
        """Goes round the work on one item, whose fault is kept."""
        try:
            yield
        except WrongSettings as error:
            self._wrong.append(error)

    def refuse(self) -> None:
        """Raise what was wrong with one of them or with several."""
        if len(self._wrong) == 1:
            raise self._wrong[0]
        if self._wrong:
            raise WrongSettings(*(fault for one in self._wrong for fault in one.faults))


def labelled_secret(name: str, number: int, item: str, at_least: int) -> tuple[str, str]:
    """(id, secret) of one item."""
    label, colon, secret = (part.strip() for part in item.strip().partition(":"))
    if not colon or LABEL.fullmatch(label) is None:
        remedy = f"write id:secret,id:secret; ids: {LABEL_RULE}"
        raise Wrong(name, f"item {number} has no proper id", remedy)
    if (size := len(secret.encode())) < at_least:
        raise Wrong(
            name,
            f"the secret of {label!r} has {size} bytes, too few to be safe",
            f"give {at_least} or more, for example from: openssl rand -hex 32",
        )
    return label, secret


def key(name: str, number: int, item: str) -> tuple[str, str]:
    """(name, SHA-256 of the secret) of one item."""
    form = "write name:secret,name:secret"
    label, colon, secret = (part.strip() for part in item.strip().partition(":"))
    if not colon:
        raise Wrong(name, f"item {number} has no colon", form)
    if LABEL.fullmatch(label) is None:
        raise Wrong(name, f"item {number} has no proper name", f"use {LABEL_RULE}")
    if not secret:
        raise Wrong(name, f"the secret of {label!r} is empty", form)
    return label, hashlib.sha256(secret.encode()).hexdigest()


def unusable_keys(pems: Iterable[tuple[str, str]]) -> Iterator[Wrong]:
    """What is wrong with the keys of JWT_PUBLIC_KEYS: (id or "", content of the file)."""
    for label, pem in pems:
        try:
            public_key(pem)
        except ValueError as error:
            whose = f"the one of {label!r}: " if label else ""
            yield Wrong("JWT_PUBLIC_KEYS", f"{whose}{error}", "name a file with a PUBLIC KEY")
