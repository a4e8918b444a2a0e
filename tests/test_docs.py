"""The documents name everything there is, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from sockets import api
from sockets.base import metrics
from sockets.base.histograms import PlainHistogram
from sockets.codes import CloseCode, ErrorCode
from sockets.protocol import messages
from sockets.types import Audit

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "clients/*/*.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))
PROTOCOL = (ROOT / "docs/reference/protocol.md").read_text()
PYTHON_API = (ROOT / "docs/reference/python-api.md").read_text()
METRICS = (ROOT / "docs/reference/metrics.md").read_text()
CHECKS = (ROOT / "docs/reference/checks.md").read_text()
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text()
AUDIT_LOG = (ROOT / "docs/audit-log.md").read_text()


def server_types() -> set[str]:
    structs: list[Any] = [value for value in vars(messages).values() if isinstance(value, type)]
    tags = {getattr(s, "__struct_config__", None) and s.__struct_config__.tag for s in structs}
    return {tag for tag in tags if tag} | {"message"}


@pytest.mark.parametrize("name", sorted(server_types()))
def test_every_frame_type_is_in_the_protocol(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`", PROTOCOL, re.MULTILINE)


@pytest.mark.parametrize(
    "struct", [*get_args(messages.ClientMessage), *get_args(messages.WorkerMessage)]
)
def test_every_member_of_a_request_is_in_the_protocol(struct: type) -> None:
    for member in struct.__struct_fields__:  # type: ignore[attr-defined]
        assert f"`{member}`" in PROTOCOL, (struct.__name__, member)


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_is_in_the_protocol(code: CloseCode) -> None:
    assert re.search(rf"\| {int(code)} \|", PROTOCOL)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_is_in_the_protocol(code: ErrorCode) -> None:
    assert f"| `{code}` |" in PROTOCOL


def test_every_public_function_is_in_the_api_page() -> None:
    twins = {f"a{name}" for name in api.__all__}
    for name in set(api.__all__) - twins - {"user_group"}:
        assert f"`{name}(" in PYTHON_API, name
    assert "user_group" in PYTHON_API


def test_every_check_is_in_the_page_of_checks() -> None:
    """Whatever an error or a warning has for its id."""
    found = set[str]()
    for file in (ROOT / "sockets").rglob("*.py"):
        found |= set(re.findall(r"\bgateway\.[EW]\d{3}\b", file.read_text()))
    listed = re.findall(r"^\| `(gateway\.[EW]\d{3})` \|", CHECKS, re.M)
    assert len(found) > 10 and listed == sorted(found)


@pytest.mark.parametrize("event", list(Audit))
def test_every_event_is_in_the_page_of_the_audit_log(event: Audit) -> None:
    assert f"`{event.value}`" in AUDIT_LOG


def audited() -> dict[Audit, set[str]]:
    """The members that the code gives to each event."""
    found: dict[Audit, set[str]] = {}
    for file in (*ROOT.glob("sockets/**/*.py"), *ROOT.glob("gateway/**/*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(call, ast.Call) and call.args):
                continue
            event = call.args[0]
            if isinstance(event, ast.Attribute) and ast.unparse(event.value) == "Audit":
                members = {keyword.arg for keyword in call.keywords if keyword.arg}
                # This one has what came of it with all of its events.
                if ast.unparse(call.func) == "_audit":
                    members |= {"closed", "unconfirmed"}
                found.setdefault(Audit[event.attr], set()).update(members)
    return found


def test_every_member_of_an_event_is_in_the_page_of_the_audit_log() -> None:
    events = audited()
    assert events.keys() == set(Audit)
    for row in re.findall(r"^\| `[a-z_]+`.*", AUDIT_LOG, re.M):
        named, _, told = row.strip("| ").split(" | ")
        members = set[str]().union(*(events[Audit(name)] for name in re.findall(r"`(\w+)`", named)))
        assert set(re.findall(r"`(\w+)`", told)) == members - {"by"}, named


def test_every_metric_is_in_the_metrics_page() -> None:
    kinds = MetricWrapperBase | PlainHistogram
    found = [m for m in vars(metrics).values() if isinstance(m, kinds)]
    assert {type(one) for one in found} == {Counter, Gauge, Histogram, PlainHistogram}
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", METRICS, re.MULTILINE)
    shown = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert shown == {_exposed(one): (_kind(one), set(one._labelnames)) for one in found}


def _kind(metric: MetricWrapperBase | PlainHistogram) -> str:
    return "histogram" if isinstance(metric, PlainHistogram) else str(metric._type)


def _exposed(metric: MetricWrapperBase | PlainHistogram) -> str:
    return metric._name + ("_total" if isinstance(metric, Counter) else "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_has_its_remedy(code: CloseCode) -> None:
    assert re.search(rf"^\| {int(code)} \| .+ \| .+ \|$", TROUBLESHOOTING, re.MULTILINE)


def started_with() -> list[str]:
    """The lines that a start may end with, as the page quotes them."""
    table = TROUBLESHOOTING.split("## It does not start")[1].split("\n## ")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    return [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("line", started_with())
def test_the_lines_of_a_start_are_the_code_s_own(line: str) -> None:
    """Each piece of a quoted line that the code does not fill in stands in the code."""
    code = "".join(file.read_text() for file in sorted((ROOT / "sockets").rglob("*.py")))
    code = re.sub(r"\"\s*\n\s*f?\"", "", code)  # literals over several lines
    pieces = re.split(r"…|'[^']*'|\d+|[A-Z_]{4,}(?=: )|django-gateway", line)
    wanted = [piece.strip(" :;,()") for piece in pieces if len(piece.strip(" :;,()")) > 3]
    assert wanted
    for piece in wanted:
        assert piece in code, piece
