"""The files in deploy/: of a form that their tools take, and true of this gateway."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import settings as project
from sockets.conf import Conf

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((DEPLOY / "kubernetes" / "gateway.yaml").read_text())
)
UNIT = (DEPLOY / "systemd" / "gateway.service").read_text()
ENDS_WITHIN = Conf().ready_lag + Conf().drain_seconds + 3 * Conf().shutdown_grace


def run(*command: str) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name(command[0])
    return subprocess.run(
        [str(tool), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in KUBERNETES if one["kind"] == kind]
    return found


def test_compose_takes_it() -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_takes_it() -> None:
    done = run(
        "kubernetes-validate", "--strict", "-k", "1.30", str(DEPLOY / "kubernetes/gateway.yaml")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") + done.stderr.count("passed") == len(KUBERNETES)


def test_systemd_takes_it(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not here")
    # Of this machine: who runs it, and where it is.
    unit = re.sub(r"/srv/gateway/.venv/bin/python", sys.executable, UNIT)
    unit = unit.replace("/srv/gateway", str(ROOT)).replace("=gateway\nGroup=gateway", "=root")
    file = tmp_path / "gateway.service"
    file.write_text(unit)
    done = subprocess.run([tool, "verify", str(file)], capture_output=True, text=True, timeout=60)
    told = [line for line in done.stderr.splitlines() if "gateway.service" in line]
    assert not told, told


def test_each_gives_a_node_the_time_that_its_end_takes() -> None:
    seconds = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert seconds and int(seconds[1]) > ENDS_WITHIN
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > ENDS_WITHIN
    for name in ("node-a", "node-b"):
        assert int(COMPOSE["services"][name]["stop_grace_period"].rstrip("s")) > ENDS_WITHIN


def test_a_probe_notices_in_time_that_a_node_goes() -> None:
    probe = of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < Conf().ready_lag


def test_each_node_has_a_name_of_its_own() -> None:
    nodes = [COMPOSE["services"][name]["environment"]["NODE_NAME"] for name in ("node-a", "node-b")]
    assert len(set(nodes)) == 2
    container = of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0]
    (name,) = [one for one in container["env"] if one["name"] == "NODE_NAME"]
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_it_runs_as_the_user_of_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for kind in ("Deployment", "Job"):
        context = of_kind(kind)["spec"]["template"]["spec"]["securityContext"]
        assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in dockerfile


def test_the_settings_are_there_and_hold_no_secret() -> None:
    lines = (DEPLOY / "systemd" / "gateway.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert given.keys() <= project.VARIABLES
    assert given["SECRET_KEY"] == given["JWT_SECRET"] == ""
    assert "PASSWORD" in given["DATABASE_URL"]


def test_workers_and_staff_are_not_let_in_from_everywhere() -> None:
    first, second = of_kind("NetworkPolicy")["spec"]["ingress"]
    assert first == {"ports": [{"port": 4000}]}
    assert second["ports"] == [{"port": 4001}] and second["from"]
    for service in ("node-a", "node-b"):
        ports = COMPOSE["services"][service]["ports"]
        assert all(port.startswith("127.0.0.1:") for port in ports)
