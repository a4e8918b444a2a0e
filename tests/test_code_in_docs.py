"""Every block of code of the documents is of its language, and calls what there is.

Many are run, too: the tutorial, the page of the shop, the client recipes, the worker, the queries
of Redis and the receivers of webhooks have tests of their own.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import yaml
from django.core.management import load_command_class

from sockets.types import NotifyOptions
from tests.test_docs import PAGES, ROOT

_BLOCK: Final = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_SCRIPT: Final = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)
_TAG: Final = re.compile(r"\{%.*?%\}")
PACKAGES: Final = ("sockets", "gateway_client")
NOT_READ: Final = {"text", "java", "go", "http"}
"""Languages of blocks that nothing here reads: "text" says that a block is no code."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in _BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            lines = (one.removeprefix(found[1]) for one in found[3].splitlines(keepends=True))
            yield Block(str(page.relative_to(ROOT)), line, found[2], "".join(lines))


BLOCKS: Final = list(blocks())


def of(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "block", [block for block in BLOCKS if block.language in languages], ids=str
    )


def test_every_block_says_what_it_is() -> None:
    known = NOT_READ | {"python", "js", "javascript", "html", "json", "yaml", "console"}
    assert [str(block) for block in BLOCKS if block.language not in known] == []


@of("python")
def test_python(block: Block) -> None:
    """It compiles; what it imports from the gateway is there, and takes what it is called with."""
    compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {}
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            for alias in node.names:
                names[alias.asname or alias.name] = _imported(str(node.module), alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = _called(node.func, names)
            if called is not None:
                _bind(called, node)


def _imported(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    return (
        getattr(found, name)
        if hasattr(found, name)
        else importlib.import_module(f"{module}.{name}")
    )


def _called(node: ast.expr, names: dict[str, Any]) -> Any:
    """What of the gateway an expression is, or None."""
    if isinstance(node, ast.Attribute):
        owner = _called(node.value, names)
        return None if owner is None or inspect.isclass(owner) else getattr(owner, node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _bind(called: Any, node: ast.Call) -> None:
    if not inspect.isfunction(called):
        return
    if any(isinstance(one, ast.Starred) for one in node.args) or not all(
        one.arg for one in node.keywords
    ):
        return
    if any(isinstance(one, ast.Constant) and one.value is ... for one in node.args):
        return  # "and so on"
    given = {str(one.arg): one for one in node.keywords}
    signature = inspect.signature(called)
    signature.bind(*node.args, **given)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and name == "options":
            assert set(given) <= set(signature.parameters) | set(NotifyOptions.__annotations__)


@of("js", "javascript", "html")
def test_javascript(block: Block) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    scripts = _SCRIPT.findall(block.text) if block.language == "html" else [block.text]
    for script in scripts:
        done = subprocess.run(
            [node, "--input-type=module", "--check", "-"],
            input=_TAG.sub("", script),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr


@of("json")
def test_json(block: Block) -> None:
    json.loads(block.text)


@of("yaml")
def test_yaml(block: Block) -> None:
    list(yaml.safe_load_all(block.text))


@of("console")
def test_commands(block: Block) -> None:
    """The gateway's own take the options that they are given."""
    typed = re.sub(r"\\\n\s*", "", block.text)
    for line in typed.splitlines():
        if not line.startswith(("$ ", "# ")):
            continue
        for command in re.findall(r"manage\.py ([a-z_]+.*?)\)?(?= +# |$)", line[2:]):
            name, *arguments = shlex.split(command.rstrip(")"))
            if (ROOT / "sockets/management/commands" / f"{name}.py").exists():
                parser = load_command_class("sockets", name).create_parser("manage.py", name)
                parser.parse_args(arguments)
