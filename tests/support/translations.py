"""The catalogues of translated texts: which there are, what the sources need, how they are written.

    python -m tests.support.translations

brings each `django.po` up to date with the sources (new texts are empty in it, those that are gone
go) and compiles it. A new language begins as an empty file
`<folder>/locale/<language>/LC_MESSAGES/django.po`, and as an entry in LANGUAGES of the settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from tests.support.gateway import ROOT

EXAMPLE = ROOT / "examples" / "image_converter"
FOLDERS = (ROOT / "sockets", ROOT / "gateway", EXAMPLE)

_SAME = datetime(2026, 1, 1, tzinfo=UTC)
_CALLS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}


def catalogues() -> list[Path]:
    """Return every `django.po`."""
    return [path for folder in FOLDERS for path in sorted(folder.glob("locale/*/*/django.po"))]


def of(path: Path) -> Catalog:
    """Return what this `django.po` says."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def needed(folder: Path) -> Catalog:
    """Return the texts in the sources of this folder: its modules and its templates."""
    found = Catalog(fuzzy=False)
    calls = _CALLS | ({"say": None} if folder == EXAMPLE else {})  # of its worker
    for path in sorted(folder.rglob("*.py")):
        _take(found, path.relative_to(folder), path.read_text(), calls)
    for path in sorted(folder.glob("templates/**/*.html")):
        code = templatize(path.read_text())
        code = "\n".join(
            line.strip() for line in code.splitlines()
        )  # no indentation to stumble over
        _take(found, path.relative_to(folder), code, calls)
    return found


def _take(found: Catalog, path: Path, code: str, calls: dict[str, Any]) -> None:
    for _, text, _, context in extract("python", BytesIO(code.encode()), calls):
        found.add(text, locations=[(str(path), 0)], context=context)


def texts(catalogue: Catalog) -> Iterator[Message]:
    """Yield its texts, without the header."""
    return (message for message in catalogue if message.id)


def key(message: Message) -> tuple[str | None, tuple[str, ...]]:
    """Return what one text is known by: its context, and its English (two if it has a plural)."""
    return message.context, (message.id,) if isinstance(message.id, str) else tuple(message.id)


def write(path: Path) -> None:
    """Bring one `django.po` up to date, and compile it."""
    known = of(path)
    known.update(needed(path.parents[3]), no_fuzzy_matching=True, update_header_comment=False)
    known.obsolete.clear()
    known.header_comment = f"# {known.locale.display_name if known.locale else ''}"
    known.project, known.version, known.fuzzy = "django-gateway", "", False
    known.msgid_bugs_address = known.last_translator = known.language_team = ""
    known.creation_date = known.revision_date = _SAME  # the same texts are the same file
    with path.open("wb") as file:
        write_po(file, known, sort_output=True, width=100, include_lineno=False)
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, known)


if __name__ == "__main__":
    for path in catalogues():
        write(path)
