"""The house: what stands at its top, and that no imports go in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from re import findall

import pytest

from tests.support.gateway import ROOT
from tests.support.import_paths import lacking

SOCKETS = ROOT / "sockets"

USED_FROM_OUTSIDE = {
    *("api", "asgi", "auth", "codes", "conf", "environment", "exceptions", "logs"),
    *("py.typed", "signals", "signatures", "tokens", "types"),
    *("layers", "server"),  # named in settings: CHANNEL_LAYERS, and what `serve` runs
}
LOOKED_FOR_BY_DJANGO = {
    *("admin", "apps", "checks", "django_accounts", "management", "migrations", "models"),
    *("static", "templates"),
}
ROOMS = {
    *("base", "cluster", "consumers", "delivery", "events", "http", "node", "presence"),
    *("protocol", "recorder", "redis", "sessions", "streams", "tasks"),
    "variables",
}


def modules() -> dict[str, Path]:
    files = {file for file in SOCKETS.rglob("*.py") if "migrations" not in file.parts}
    named = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in named.items()}


def imports(file: Path, known: set[str]) -> set[str]:
    """The modules of `known` that this one imports anywhere, for types too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def test_no_imports_go_in_a_circle() -> None:
    known = modules()
    names = set(known)
    # A package's own `__init__` gathers what is inside; nothing inside imports the package itself.
    graph = {
        name: {one for one in imports(file, names) if not name.startswith(f"{one}.")} - {name}
        for name, file in known.items()
    }
    assert len(graph) > 150
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"in a circle: {' -> '.join(error.args[1])}")


def test_what_stands_at_the_top() -> None:
    """What users import, what Django looks for, and rooms; nothing else."""
    # What a checkout of before has left behind has compiled files only.
    files = [file for file in SOCKETS.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    top = {file.relative_to(SOCKETS).parts[0].removesuffix(".py") for file in files}
    assert top - {"__init__"} == USED_FROM_OUTSIDE | LOOKED_FOR_BY_DJANGO | ROOMS


def documented() -> list[str]:
    """`sockets.a.b` as the pages for users name it, in code and in text, and what their examples
    import from such a module."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/reference/*.md")]
    text = "".join(page.read_text() for page in pages if page.name != "CHANGELOG.md")
    paths = set(findall(r"\bsockets\.[a-z_]+(?:\.\w+)*", text))
    for module, names in findall(r"from (sockets[\w.]*) import (\([^)]*\)|[^\n#]+)", text):
        paths |= {f"{module}.{name}" for name in findall(r"\w+", names)}
    return sorted(paths)


@pytest.mark.parametrize("path", documented())
def test_what_the_pages_import_is_there(path: str) -> None:
    """Rule 18, in this checkout; tests/packaging does so from the wheel."""
    assert lacking(path) is None
