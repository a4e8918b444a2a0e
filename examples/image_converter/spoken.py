"""What a worker says to the owner of an image, in the owner's language.

The worker knows no Django: the catalogues are the page's, read with Python's own gettext. The
language is that of the task at hand: each has a thread, and a context, of its own.
"""

from __future__ import annotations

import gettext
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LOCALE = Path(__file__).parent / "locale"

language: ContextVar[str] = ContextVar("language", default="en")


def say(text: str, **values: object) -> str:
    """Return the text, translated, with its `%(name)s` filled in; in English where there is no
    translation."""
    return _catalogue(language.get()).gettext(text) % values


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation("django", LOCALE, [language], fallback=True)
