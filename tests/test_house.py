"""The house: what stands at its top, that no imports go in a circle, and where it is tested."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from re import findall

import pytest

from tests.support.gateway import ROOT
from tests.support.import_paths import lacking

SOCKETS = ROOT / "sockets"
TESTS = ROOT / "tests"

USED_FROM_OUTSIDE = {
    *("api", "asgi", "auth", "codes", "conf", "environment", "exceptions", "logs"),
    *("deliveries", "py.typed", "reports", "signals", "signatures", "testing", "tokens", "types"),
    *("layers", "server"),  # named in settings: CHANNEL_LAYERS, and what `serve` runs
}
LOOKED_FOR_BY_DJANGO = {
    "locale",
    *("admin", "apps", "checks", "django_accounts", "management", "migrations", "models"),
    *("static", "templates", "templatetags"),
}
ROOMS = {
    *("base", "cluster", "consumers", "delivery", "events", "http", "node", "presence"),
    *("protocol", "recorder", "redis", "sessions", "streams", "tasks"),
    *("ledger", "operations", "safety", "variables"),
}

WITHOUT_LOGIC = {
    *("layers.base", "recorder.base", "server.host", "signals", "streams.base", "tasks.base"),
    *("cluster.registry", "deliveries", "presence.base", "reports", "types"),
}
"""Types, protocols and constants: there is nothing to be run by itself."""

TESTED_ELSEWHERE = {
    # What every backend promises is one suite for all of them.
    "cluster.registry_memory": "contracts/test_nodes.py",
    "cluster.registry_redis": "contracts/test_nodes.py",
    "layers.redis": "contracts/test_layers.py",
    "ledger.base": "contracts/test_ledger.py",
    "ledger.memory": "contracts/test_ledger.py",
    "ledger.redis": "contracts/test_ledger.py",
    "presence.redis": "contracts/test_presence.py",
    "streams.redis": "contracts/test_streams.py",
    "tasks.redis": "contracts/test_tasks.py",
    # Their work is with a server of Redis, and there they are tested.
    "layers.publisher": "integration/test_redis_layer_limits.py",
    "layers.publisher_sync": "acceptance/test_python_api.py",
    "redis.multiplexed": "integration/test_redis_multiplexed.py",
    "redis.probe": "integration/test_redis_probe.py",
    "redis.sentinel": "integration/test_redis_sentinel.py",
    "node.in_redis": "acceptance/test_redis_mode.py",
    # They need a process, a port or signals of their own.
    "server.__main__": "acceptance/test_daphne_installed.py",
    "server.early": "acceptance/test_signals.py",
    "server.http": "acceptance/test_http_strictness.py",
    "server.reactor": "acceptance/test_server_contract.py",
    "apps": "acceptance/test_redis_mode.py",
    "management.commands.create_key": "acceptance/test_keys.py",
    "management.commands.devsetup": "acceptance/test_proxies.py",
    "management.commands.end_key": "acceptance/test_keys.py",
    "admin.operations.source": "unit/admin/operations/test_page.py",
    # Each is a way to something else, and is tested beside the other ways.
    "api.given": "unit/api/test_data.py",
    "auth.claims": "unit/auth/test_tokens.py",
    "base.contradictions": "unit/test_conf.py",
    "base.faults": "unit/test_conf.py",
    "base.http_client": "unit/auth/test_proxy.py",
    "management.commands.asyncapi": "unit/management/test_contract_commands.py",
    "management.commands.event_types": "unit/management/test_contract_commands.py",
    "management.commands.notify": "unit/delivery/test_doors.py",
    "management.typescript": "unit/management/test_contract_commands.py",
    "testing.live": "acceptance/test_live_gateway.py",
    "testing.live_settings": "acceptance/test_live_gateway.py",
    # The HTTP API is tested as its document describes it, route by route.
    "http.api": "unit/http/test_document.py",
    "http.schemas": "unit/http/test_document.py",
    "http.routes.calls": "acceptance/test_beside_a_gateway.py",
    "http.routes.messages": "unit/http/test_problems_places.py",
    "http.reports": "unit/http/test_document.py",
    "http.routes.sessions": "unit/http/test_problems_places.py",
    "http.routes.tasks": "unit/http/test_problems_places.py",
    "http.routes.users": "unit/http/test_problems_places.py",
    # Pages and middleware in the order that a project has them in.
    "http.middleware.base": "unit/http/middleware/test_forms.py",
    "http.middleware.static": "unit/gateway/test_start.py",
    "http.ops": "unit/gateway/test_surfaces.py",
    "http.pages": "unit/gateway/test_surfaces.py",
    "http.browser": "unit/gateway/test_surfaces.py",
    "http.problem": "unit/http/test_problems.py",
}
"""Where a module is tested that has no `tests/unit/a/test_b.py` for its `sockets/a/b.py`."""


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
    for module, names in findall(r"from (sockets[\w.]*) import (\([^)]*\)|[^\n#;]+)", text):
        paths |= {f"{module}.{name}" for name in findall(r"\w+", names)}
    return sorted(paths)


@pytest.mark.parametrize("path", documented())
def test_what_the_pages_import_is_there(path: str) -> None:
    """Rule 18, in this checkout; tests/packaging does so from the wheel."""
    assert lacking(path) is None


def test_each_module_is_tested_in_its_mirrored_place_or_it_is_known_where() -> None:
    files = [file.relative_to(SOCKETS) for file in modules().values()]
    files = [file for file in files if file.name != "__init__.py"]
    without = {
        ".".join(file.with_suffix("").parts)
        for file in files
        if not (TESTS / "unit" / file.parent / f"test_{file.name}").is_file()
    }
    assert without == WITHOUT_LOGIC | TESTED_ELSEWHERE.keys()


def test_nothing_loads_the_admin_or_sessions_where_they_are_not_installed() -> None:
    """Rule 15: only what works with them alone imports them with the module."""
    foreign = r"(?m)^(?:from|import) django\.contrib\.(?:admin|sessions|messages)\b"
    found = {name for name, file in modules().items() if findall(foreign, file.read_text())}
    of_sessions = {"sockets.auth.project_sessions", "sockets.auth.session_tables"}
    assert of_sessions < found
    assert {name for name in found if not name.startswith("sockets.admin")} == of_sessions


@pytest.mark.parametrize("module", TESTED_ELSEWHERE)
def test_the_other_place_is_there(module: str) -> None:
    assert (TESTS / TESTED_ELSEWHERE[module]).is_file()
