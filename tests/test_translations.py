"""The catalogues of every folder: whole, as the sources are, compiled, and with the same blanks."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from django.conf import settings

from tests.support import translations
from tests.support.translations import EXAMPLE, FOLDERS, key, needed, of, texts

LANGUAGES = [language for language, _ in settings.LANGUAGES if language != "en"]
EVERY = [folder / f"locale/{one}/LC_MESSAGES/django.po" for folder in FOLDERS for one in LANGUAGES]
LEAST = {"sockets": 80, "gateway": 2, "image_converter": 80}
BLANK = re.compile(r"%\(\w+\)[a-z]|%[a-z%]|</?[a-z][^>]*>")

each = pytest.mark.parametrize(
    "path", EVERY, ids=[f"{path.parents[3].name}-{path.parents[1].name}" for path in EVERY]
)


def said(message: Message) -> tuple[str, ...]:
    string = message.string or ""
    return (string,) if isinstance(string, str) else tuple(string)


def test_every_language_is_offered_and_has_them_all() -> None:
    assert translations.catalogues() == sorted(EVERY, key=EVERY.index)
    assert LANGUAGES == ["ko"]


@each
def test_nothing_is_missing_and_nothing_too_much(path: Path) -> None:
    """If this fails: python -m tests.support.translations, then fill in what is empty."""
    there, wanted = of(path), {key(message) for message in texts(needed(path.parents[3]))}
    assert len(wanted) >= LEAST[path.parents[3].name], "the sources were not read"
    assert {key(message) for message in texts(there)} == wanted
    assert not there.obsolete
    assert not [message.id for message in texts(there) if message.fuzzy or not all(said(message))]


@each
def test_the_blanks_are_the_same(path: Path) -> None:
    for message in texts(of(path)):
        expected = {frozenset(BLANK.findall(text)) for text in key(message)[1]}
        assert {frozenset(BLANK.findall(text)) for text in said(message)} == expected, message.id


@each
def test_it_is_compiled(path: Path) -> None:
    """If this fails: python -m tests.support.translations."""
    with path.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in texts(of(path)):
        (context, ids), forms = key(message), said(message)
        if len(ids) == 2 and context:
            found = {compiled.npgettext(context, *ids, count) for count in (1, 2, 5)}
        else:
            found = {compiled.pgettext(context, ids[0]) if context else compiled.gettext(ids[0])}
        assert found == set(forms), ids
    own = {context for context, _ in map(key, texts(of(path)))}
    # Catalogues of apps are merged: a project's own "state" is none of ours.
    assert own == ({None} if path.is_relative_to(EXAMPLE) else {"gateway"})


def test_what_is_written_is_what_is_there() -> None:
    """The command changes nothing where there is nothing to change."""
    for path in EVERY:
        before = path.read_bytes(), path.with_suffix(".mo").read_bytes()
        translations.write(path)
        assert (path.read_bytes(), path.with_suffix(".mo").read_bytes()) == before, path
