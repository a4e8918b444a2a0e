"""Forms that were sent already, by their keys: kept in the operator's login, as any process may get
the second press."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest

MOST: Final = 50
"""Forms that one login remembers; the oldest are forgotten."""

_KEY: Final = "gateway_pressed"


def first(request: HttpRequest, key: str) -> bool:
    """Return whether this form comes for the first time; from now on it does not.

    A form without a key comes for the first time always. It is written at once, and not with the
    answer: the second press of a double click is there before that.
    """
    known = _known(request)
    if key and key in known:
        return False
    if key:
        _write(request, [*known, key][-MOST:])
    return True


def forget(request: HttpRequest, key: str) -> None:
    """Let this form come once more: what it asked for was not done."""
    known = _known(request)
    if key in known:
        _write(request, [one for one in known if one != key])


def _known(request: HttpRequest) -> list[str]:
    return list(request.session.get(_KEY, ()))


def _write(request: HttpRequest, keys: list[str]) -> None:
    request.session[_KEY] = keys
    request.session.save()
