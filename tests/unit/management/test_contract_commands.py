"""`manage.py asyncapi` and `manage.py event_types`."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from django.core.management import CommandError, call_command

from sockets.api import Event
from sockets.api.contracts import contracts
from sockets.management.typescript import declarations


class Line(Event):
    event: ClassVar[str] = "test.line"

    name: str


class Everything(Event):
    """What a field may be. Not */ the end."""

    event: ClassVar[str] = "test.everything"

    count: int
    lines: list[Line]
    state: Literal["new", "paid"]
    by_name: dict[str, float]
    pair: tuple[int, str]
    any_of: Any = None
    note: str | None = None


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in contracts if not name.startswith("test.")]:
        monkeypatch.delitem(contracts, name)


def test_asyncapi_names_the_addresses_of_the_settings(settings: Any) -> None:
    settings.GATEWAY = {**settings.GATEWAY, "client_socket_url": "wss://shop.example/live"}
    made = json.loads(run("asyncapi"))
    assert made["servers"]["client"]["host"] == "shop.example"
    assert made["channels"]["client"]["address"] == "/live"
    assert "$defs" in json.loads(run("asyncapi", "--json-schema"))


def test_asyncapi_names_the_first_path_of_each_surface(settings: Any) -> None:
    settings.GATEWAY = {**settings.GATEWAY, "client_paths": ("/live",), "worker_paths": ("/wk",)}
    found = json.loads(run("asyncapi"))["channels"]
    assert (found["client"]["address"], found["worker"]["address"]) == ("/live", "/wk")


def test_names_that_are_taken_or_no_identifiers() -> None:
    """msgspec gives classes that are called alike their modules."""
    schemas = {
        name: {"type": "object", "properties": {"a": {"$ref": "#/$defs/one.Paid"}}}
        for name in ("one.Paid", "Events")
    }
    made = declarations(schemas, {"paid": "one.Paid", "all": "Events"})
    assert "interface one_Paid {\n  a?: one_Paid;" in made
    assert "interface Events_ {" in made
    assert '  "paid": one_Paid;\n  "all": Events_;' in made


@pytest.mark.usefixtures("two")
def test_typescript() -> None:
    assert run("event_types") == (
        "// Made by `manage.py event_types`: change the contracts, and make it anew.\n"
        "\n"
        "/** What a field may be. Not * / the end. */\n"
        "export interface Everything {\n"
        "  count: number;\n"
        "  lines: Array<Line>;\n"
        '  state: "new" | "paid";\n'
        "  by_name: Record<string, number>;\n"
        "  pair: [number, string];\n"
        "  any_of?: unknown;\n"
        "  note?: string | null;\n"
        "}\n"
        "\n"
        "export interface Line {\n"
        "  name: string;\n"
        "}\n"
        "\n"
        "/** What is sent, by the event's name. */\n"
        "export interface Events {\n"
        '  "test.everything": Everything;\n'
        '  "test.line": Line;\n'
        "}\n"
    )


@pytest.mark.usefixtures("two")
def test_json_schema_has_a_property_for_each_event() -> None:
    made = json.loads(run("event_types", "--json-schema"))
    assert made["properties"]["test.line"] == {"$ref": "#/$defs/Line"}
    assert made["$defs"]["Line"]["required"] == ["name"]


def test_without_contracts_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(contracts):
        monkeypatch.delitem(contracts, name)
    with pytest.raises(CommandError, match="into a module `gateway_events` of one of your apps"):
        run("event_types")


def test_members_that_are_no_names_are_quoted() -> None:
    schema = {"type": "object", "properties": {"a-b": {}, "c": {"const": 1}}, "required": ["c"]}
    made = declarations({"X": schema, "Y": {"type": "string"}}, {})
    assert '  "a-b"?: unknown;\n  c: 1;\n' in made and "export type Y = string;\n" in made


def test_contracts_of_apps_are_found_at_the_start(tmp_path: Path) -> None:
    app = tmp_path / "orders"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "gateway_events.py").write_text(
        "from sockets.api import Event\n\n\nclass OrderPaid(Event):\n    order: int\n"
    )
    (tmp_path / "site_settings.py").write_text(
        "SECRET_KEY = 'x' * 50\nINSTALLED_APPS = ['sockets', 'orders']\n"
        "GATEWAY = {'environment': 'test'}\nUSE_TZ = True\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "django", "event_types"],
        cwd=tmp_path,
        env={
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PYTHONPATH": f"{tmp_path}:{Path.cwd()}",
            "PATH": "/usr/bin",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "  order: number;\n" in done.stdout and '"order.paid": OrderPaid' in done.stdout
