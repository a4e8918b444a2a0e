"""Secrets as they were given: short, to be guessed, or for two uses.

Of keys only hashes are kept, so that how good they are is seen here or never.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sockets.safety import Secret, short, weak, whose
from sockets.variables.reader import Variables

_SINGLE = ("JWT_SECRET", "WEBHOOK_SECRET")
_KEYS = ("WORKER_KEYS", "API_KEYS")
_LISTS = ("JWT_SECRETS", *_KEYS)


def weak_keys(variables: Variables) -> tuple[str, ...]:
    """Return a line for each key that production would refuse."""
    keys = [one for one in _given(variables, ()) if one.name in _KEYS]
    return tuple(dict.fromkeys(fault.text for fault in weak(keys)))


def note_weak(variables: Variables, also: Collection[str] = ()) -> None:
    """Note what is wrong with all secrets, whatever else is wrong with them.

    `also`: variables of the project's own that hold a secret.
    """
    # How short the others are, their readers have said.
    told = [one for one in variables.wrong if one not in _KEYS]
    given = [one for one in _given(variables, also) if one.name not in told or not [*short([one])]]
    variables.note(*weak(given), certain=True)


def _given(variables: Variables, also: Collection[str]) -> Iterator[Secret]:
    """Yield all that are set."""
    for name in (*also, *_SINGLE):
        if secret := variables.given(name):
            yield Secret(name, "it", secret)
    for name in _LISTS:
        for item in (variables.given(name) or "").split(","):
            label, colon, secret = (part.strip() for part in item.partition(":"))
            if colon:
                yield Secret(name, whose(label), secret)
