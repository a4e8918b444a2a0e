"""What a comment, a docstring or a page refers to exists: sections, rules, files, settings."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import PurePosixPath

from django.conf import global_settings

from tests.support.gateway import ROOT

HISTORY = "CHANGELOG.md"  # speaks of what is gone
LOCKS = [PurePosixPath("requirements.txt"), PurePosixPath("requirements-dev.txt")]
PAGES = (".md",)
SOURCES = (".py", ".lua", ".js", ".mjs", ".html", ".css", ".yaml", ".yml", ".toml", ".in", ".txt")

SECTION = re.compile(r"\bsections? (\d+(?:\.\d+)*)(?: and (\d+(?:\.\d+)*))?")
RULE = re.compile(r"\brule (\d+)\b")
FILE = re.compile(
    r"(?<![\w/.*<>{}~:-])((?:[\w.-]+/)*[\w-][\w.-]*\.(?:py|lua|md|js|mjs|html|css))\b"
)
NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
CAPITALS = re.compile(r"(?<![\w/.-])[A-Z]{4,}(?![\w-])")
LINK = re.compile(r"\]\(([^)\s#]*)(#[\w-]+)?\)")
TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<string>
        (?i:\b(?:[rbfu]|rb|br|rf|fr))?
        (?: '''(?:\\.|[^\\])*?''' | \"\"\"(?:\\.|[^\\])*?\"\"\"
        | '(?:\\.|[^\\\n'])*' | "(?:\\.|[^\\\n"])*" ))
    | (?P<name>[^\W\d]\w*)
    | \d[\w.]*
    """,
    re.VERBOSE | re.DOTALL,
)
"""What is looked at in Python: the module `tokenize` takes several times as long."""


def files() -> list[PurePosixPath]:
    """What the repository holds, and what is about to be added to it."""
    command = ["git", "ls-files", "-c", "-o", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [PurePosixPath(name) for name in listed.splitlines() if (ROOT / name).is_file()]


KNOWN = files()


def text(path: PurePosixPath) -> str:
    return (ROOT / path).read_text()


@cache
def parts(path: PurePosixPath) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The comments of a Python file, its names and strings, and its docstrings."""
    whole = text(path)
    comments: list[str] = []
    code: list[str] = []
    for token in TOKEN.finditer(whole):
        if token.lastgroup is not None:
            (comments if token.lastgroup == "comment" else code).append(token[0])
    return tuple(comments), tuple(code), tuple(_docstrings(ast.parse(whole)))


@cache
def prose(path: PurePosixPath) -> str:
    """Comments and docstrings of a Python file, pages whole, of others the whole file."""
    if path.suffix != ".py":
        return text(path)
    comments, _, docstrings = parts(path)
    return "\n".join([*(comment.lstrip("# ") for comment in comments), *docstrings])


def _docstrings(tree: ast.AST) -> Iterator[str]:
    """Strings that stand alone: of modules, classes, functions, and after a constant."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        # A lambda and a conditional expression have one, too, which is no block.
        for node in found if isinstance(found := getattr(tree, block, []), list) else []:
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield node.value.value
            else:
                yield from _docstrings(node)


def written() -> list[PurePosixPath]:
    kinds = (*PAGES, *SOURCES)
    return [p for p in KNOWN if p.suffix in kinds and p.name != HISTORY and p not in LOCKS]


@cache
def sections(page: str) -> frozenset[str]:
    """The numbers before the headings of a page, found by its file's name."""
    (path,) = [path for path in KNOWN if path.name == page and path.parts[0] == "docs"]
    return frozenset(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", text(path), re.MULTILINE))


@cache
def rules() -> frozenset[str]:
    page = text(PurePosixPath("docs/architecture.md"))
    return frozenset(re.findall(r"^(\d+)\. \*\*", page, re.MULTILINE))


def wrong_sections(told: str) -> Iterator[str]:
    for match in SECTION.finditer(told):
        before = told[max(0, match.start() - 120) : match.start()]
        if re.search(r"RFC \d+,? *$", before):
            continue
        page = re.search(r"([\w-]+\.md)[`)]*,? *$", before)
        for number in filter(None, match.groups()):
            if page is None or number not in sections(page[1]):
                yield match[0]


def wrong_rules(told: str) -> Iterator[str]:
    for match in RULE.finditer(told):
        before = told[max(0, match.start() - 120) : match.start()].split()[-1:]
        if before and ("architecture.md" not in before[0] or match[1] not in rules()):
            yield f"{before[0]} {match[0]}"


def wrong_in(
    paths: Iterable[PurePosixPath], wrong: Callable[[PurePosixPath], Iterable[str]]
) -> dict[str, list[str]]:
    """By path, what is wrong there; nothing where all is right."""
    found = {str(path): sorted(set(wrong(path))) for path in paths}
    return {path: items for path, items in found.items() if items}


def test_sections_and_rules_are_there() -> None:
    def wrong(path: PurePosixPath) -> list[str]:
        told = " ".join(prose(path).split())
        return [*wrong_sections(told), *wrong_rules(told)]

    assert wrong_in(written(), wrong) == {}


def test_a_section_that_is_not_there_is_found() -> None:
    there = "protocol.md section 2, docs/reference/protocol.md section 2.4, RFC 6455 section 7.4"
    assert list(wrong_sections(f"{there}; architecture.md, rule 9")) == []
    for gone in (
        "PROTOCOL section 3",
        "section 3",
        "protocol.md section 77",
        "protocol.md section 2.9",
    ):
        assert list(wrong_sections(f"as of {gone}")), gone
    assert list(wrong_rules("architecture rule 9")) and list(
        wrong_rules("architecture.md, rule 99")
    )


OF_READERS = {"hello.py", "converter.py", "index.html", "a/b/c.py", "b/c.py", "c.py"}
OF_READERS |= {"sockets/a/b.py", "tests/unit/a/test_b.py", "shop/settings.py", "shop/asgi.py"}
OF_READERS |= {f"orders/{name}.py" for name in ("apps", "gateway_events", "receivers", "views")}
OF_READERS |= {"shop/urls.py", "orders/templates/orders/order.html", "orders/order.html"}
"""Files that a page tells its reader to make, and those of examples."""

BUILT = {"dist/gateway.js", "use.mjs", "esbuild.mjs", "vite.mjs", "vite/vite.mjs"}
BUILT |= {"little.mjs", "little.out.mjs"}
"""What building and testing the npm package makes."""


@cache
def endings() -> frozenset[str]:
    """`a/b/c.py` may be called `c.py` and `b/c.py` too."""
    return frozenset("/".join(path.parts[n:]) for path in KNOWN for n in range(len(path.parts)))


def missing_files(path: PurePosixPath) -> list[str]:
    named = {re.sub(r"^(\.\.?/)+", "", found) for found in FILE.findall(prose(path))}
    return sorted(named - endings() - OF_READERS - BUILT)


def test_files_are_there() -> None:
    assert wrong_in([p for p in written() if p.suffix != ".html"], missing_files) == {}


ELSEWHERE = {
    *("EVENTLET_HUB", "HTTPS_PROXY", "HTTP_X_FORWARDED_PROTO", "SSL_CERT_FILE"),  # of libraries
    *("CASE", "COMMIT", "DISTINCT", "XDEL"),  # of SQL and Redis
    *("CORS", "CSRF", "IDNA", "RESP", "WSGI"),
    *("IPC_RMID", "PR_SET_CHILD_SUBREAPER", "XDG_RUNTIME_DIR"),  # of the system
    *("PORTS_FILE", "PER_SECOND", "JOURNAL", "REPOSITORY"),  # arguments of commands
    *("CONTRIBUTING", "NAME_LIKE_THIS", "THEN"),
}


@cache
def names_in_code() -> frozenset[str]:
    """Every NAME_LIKE_THIS and word in capitals outside prose, and Django's settings."""
    found = {name for name in dir(global_settings) if name.isupper()}
    for path in KNOWN:
        if path.suffix == ".py":
            _, told, docstrings = parts(path)
            standing = set(docstrings)
            code = "\n".join(one for one in told if one.strip("\"'") not in standing)
        elif path.suffix in (*SOURCES, "", ".example", ".sh"):
            code = text(path)
        else:
            continue
        found |= {*NAME.findall(code), *CAPITALS.findall(code)}
    return frozenset(found | ELSEWHERE)


def test_settings_and_constants_are_there() -> None:
    def wrong(path: PurePosixPath) -> set[str]:
        named = {*NAME.findall(prose(path)), *CAPITALS.findall(prose(path))}
        return named - names_in_code()

    assert wrong_in([path for path in written() if path.suffix in (".py", ".md")], wrong) == {}


def slug(heading: str) -> str:
    """As GitHub makes anchors of headings."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


def lost_links(path: PurePosixPath) -> Iterator[str]:
    for target, anchor in LINK.findall(text(path)):
        if "://" in target or target.startswith("mailto:"):
            continue
        page = (ROOT / path).parent / target if target else ROOT / path
        if not page.exists():
            yield target
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
            if anchor[1:] not in {slug(re.sub(r"[`*]", "", heading)) for heading in headings}:
                yield target + anchor


def test_links_lead_somewhere() -> None:
    assert wrong_in([path for path in written() if path.suffix == ".md"], lost_links) == {}
