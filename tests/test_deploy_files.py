"""Files for other machines: of a form that their tools take, and true of this gateway."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from gateway import settings as project
from sockets.conf import Conf

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((DEPLOY / "kubernetes" / "gateway.yaml").read_text())
)
UNIT = (DEPLOY / "systemd" / "gateway.service").read_text()
WRAPPER = (DEPLOY / "systemd" / "gateway").read_text()
PAGE = (ROOT / "docs" / "first-production-start.md").read_text()
ENDS_WITHIN = Conf().ready_lag + Conf().drain_seconds + Conf().overlap + 3 * Conf().shutdown_grace


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


def of_the_page(beginning: str) -> str:
    """The one block of the page that begins so."""
    (found,) = re.findall(rf"^```text\n({re.escape(beginning)}.*?)^```$", PAGE, re.M | re.S)
    return str(found)


@pytest.mark.parametrize("project", ["gateway", "shop"])
def test_systemd_takes_it(tmp_path: Path, project: str) -> None:
    """The file, and what the page has for a project of one's own."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not here")
    unit = UNIT if project == "gateway" else of_the_page("# /etc/systemd/system/shop-gateway")
    # Of this machine: who runs it, and where it is.
    unit = re.sub(rf"/srv/{project}/.venv/bin/python", sys.executable, unit)
    unit = unit.replace(f"/srv/{project}", str(ROOT))
    unit = unit.replace("Group=gateway\n", "").replace(f"User={project}", "User=root")
    file = tmp_path / "gateway.service"
    file.write_text(unit)
    done = subprocess.run([tool, "verify", str(file)], capture_output=True, text=True, timeout=60)
    told = [line for line in done.stderr.splitlines() if "gateway.service" in line]
    assert not told, told


def lines(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.M)


def test_the_private_port_listens_on_this_machine_alone() -> None:
    """By `serve`'s own default: whoever wants another address writes it, as the page says."""
    shop = of_the_page("# /etc/systemd/system/shop-gateway")
    for unit in (UNIT, shop):
        assert "--host" not in unit
        assert lines(unit, "ExecStart")[0].endswith("manage.py serve")
    (elsewhere,) = re.findall(r"serve --host (\S+)", PAGE)
    assert elsewhere not in ("0.0.0.0", "::")


def test_the_unit_of_a_project_has_what_a_gateway_needs() -> None:
    shop = of_the_page("# /etc/systemd/system/shop-gateway")
    for name in ("TimeoutStopSec", "KillMode", "LimitNOFILE", "Restart", "WantedBy"):
        assert lines(shop, name) == lines(UNIT, name)


def test_its_commands_run_as_the_service_does() -> None:
    """The page's `gateway`: one file says it, and the unit says the same."""
    given = dict(re.findall(r"--property=(\w+)=(\S+)", WRAPPER))
    for name in given:
        assert [given[name]] == lines(UNIT, name), name
    assert {"User", "WorkingDirectory", "EnvironmentFile", "StateDirectory"} <= given.keys()
    assert re.findall(r"--setenv=(\S+)", WRAPPER) == lines(UNIT, "Environment")
    python = lines(UNIT, "ExecStart")[0].removesuffix(" serve")
    assert f'{python} "$@"' in WRAPPER


def test_its_commands_are_clean_shell() -> None:
    done = run("shellcheck", "deploy/systemd/gateway")
    assert done.returncode == 0, done.stdout
    assert os.access(DEPLOY / "systemd" / "gateway", os.X_OK)


@pytest.fixture
def pretend(tmp_path: Path) -> dict[str, str]:
    """An environment where `systemd-run` tells what it was given, and `id` who one is."""
    for name, script in (("systemd-run", 'printf "%s\\n" "$@"'), ("id", "echo ${UID_OF_ALL:-0}")):
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_a_command_is_passed_on_as_it_was_typed(pretend: dict[str, str]) -> None:
    typed = ["notify", "42", "hello there", '{"a": "b c"}', "$HOME", "*"]
    done = subprocess.run(
        ["deploy/systemd/gateway", *typed],
        cwd=ROOT, env=pretend, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    told = done.stdout.splitlines()
    assert told[told.index("manage.py") + 1 :] == typed
    assert "--pipe" in told and "--pty" not in told


def test_a_question_is_asked_at_the_terminal(pretend: dict[str, str]) -> None:
    """`createsuperuser` asks, and Ctrl-C ends `sessions --watch`."""
    here, there = pty.openpty()
    try:
        subprocess.run(
            ["deploy/systemd/gateway", "createsuperuser"],
            cwd=ROOT, env=pretend, stdin=there, stdout=there, timeout=30, check=True,
        )  # fmt: skip
        assert "--pty" in os.read(here, 10_000).decode().split()
    finally:
        os.close(here)
        os.close(there)


def test_whoever_is_not_root_is_told(pretend: dict[str, str]) -> None:
    done = subprocess.run(
        ["deploy/systemd/gateway", "sessions", "--watch"],
        cwd=ROOT, env=pretend | {"UID_OF_ALL": "1000"}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        "gateway: only root may read the settings: sudo gateway sessions --watch\n"
    )


def typed(beginning: str) -> list[str]:
    """The one line of the page's commands that begins so, as the shell has it."""
    whole = re.sub(r"\\\n\s*", "", PAGE)
    (found,) = re.findall(rf"^# ({re.escape(beginning)}.*)$", whole, re.M)
    return shlex.split(found)


def test_the_certificate_to_try_has_the_names_of_the_proxy(tmp_path: Path) -> None:
    command = [
        part.replace("/etc/ssl/gateway", str(tmp_path)) for part in typed("openssl req -x509")
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    made = x509.load_pem_x509_certificate((tmp_path / "fullchain.pem").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    proxy = (DEPLOY / "nginx.conf").read_text()
    assert names.get_values_for_type(x509.DNSName) == re.findall(r"server_name (\S+);", proxy)
    certbot = typed("certbot certonly")
    asked = [certbot[at + 1] for at, part in enumerate(certbot) if part == "-d"]
    assert asked == re.findall(r"server_name (\S+);", proxy)
    for name in ("fullchain.pem", "privkey.pem"):
        assert f"/etc/ssl/gateway/{name}" in proxy and (tmp_path / name).exists()


def test_no_command_of_the_page_needs_what_it_does_not_install() -> None:
    """A machine of Debian's minbase has no sudo; and nothing is typed past the wrapper."""
    commands = re.findall(r"^# (.*)$", PAGE, re.M)
    installed = set(" ".join(one for one in commands if "apt-get install" in one).split())
    for tool in ("git", "curl", "openssl", "nginx", "certbot"):
        assert tool in installed
    assert not [one for one in commands if one.startswith(("sudo ", "python manage.py"))]


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


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_github_takes_the_workflows(name: str) -> None:
    file = f".github/workflows/{name}"
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", file)
    assert done.returncode == 0, done.stdout + done.stderr
