"""The documents name everything there is, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.metrics import MetricWrapperBase

from sockets import api, metrics
from sockets.codes import CloseCode, ErrorCode
from sockets.protocol import messages
from sockets.types import Audit

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
PROTOCOL = (ROOT / "docs/reference/protocol.md").read_text()
PYTHON_API = (ROOT / "docs/reference/python-api.md").read_text()
METRICS = (ROOT / "docs/reference/metrics.md").read_text()
AUDIT_LOG = (ROOT / "docs/audit-log.md").read_text()


def server_types() -> set[str]:
    structs = [value for value in vars(messages).values() if isinstance(value, type)]
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


@pytest.mark.parametrize("event", list(Audit))
def test_every_event_is_in_the_page_of_the_audit_log(event: Audit) -> None:
    assert f"`{event.value}`" in AUDIT_LOG


def test_every_metric_is_in_the_metrics_page() -> None:
    found = [m for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)]
    assert len(found) > 5
    for metric in found:
        assert f"`{metric._name}" in METRICS, metric._name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
