"""`environment.read()`: the dictionary GATEWAY, for any project, in any order of imports."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sockets import environment
from sockets.conf import Conf, WrongSettings
from sockets.environment import Variables, gather, judge
from sockets.safety import refusals
from sockets.types import Surface
from tests.support.gateway import ROOT


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    return monkeypatch


def test_every_key_has_conf_s_default(given: pytest.MonkeyPatch) -> None:
    found = environment.read()
    conf = Conf(**found)
    assert set(found) == {field.name for field in fields(Conf)} - {"environment"}
    differing = {name for name, value in found.items() if value != getattr(Conf(), name)}
    assert differing <= {"node_name"}
    assert conf.surface is Surface.PUBLIC


def test_what_no_variable_says_django_s_debug_does(given: pytest.MonkeyPatch) -> None:
    """Rules 1 and 11: DEBUG is the project's, and may be set after this is read."""
    assert "environment" not in environment.read()
    assert environment.read()["auth"] == ()
    given.setenv("NODE_ENV", "test")
    assert environment.read()["environment"] == "test"


def test_a_node_env_of_another_program_s_is_none_of_ours(given: pytest.MonkeyPatch) -> None:
    given.setenv("NODE_ENV", "staging")
    assert "environment" not in environment.read()
    given.setenv("ENVIRONMENT", "staging")
    with pytest.raises(WrongSettings, match="ENVIRONMENT"):
        environment.read()


def test_rows_may_be_kept_for_ever(given: pytest.MonkeyPatch) -> None:
    """Rule 16: SESSION_KEEP=0."""
    given.setenv("SESSION_KEEP", "0")
    assert environment.read()["session_keep"] == 0
    given.setenv("SESSION_KEEP", "-1")
    with pytest.raises(WrongSettings, match="SESSION_KEEP"):
        environment.read()


def test_no_history(given: pytest.MonkeyPatch) -> None:
    """Rule 16: SESSION_HISTORY=false."""
    assert environment.read()["history"] is True
    given.setenv("SESSION_HISTORY", "false")
    assert environment.read()["history"] is False


def test_it_reads_only_what_becomes_a_key() -> None:
    source = Variables({})
    gather(source)
    own = {"SECRET_KEY", "DEBUG", "DATABASE_URL", "ALLOWED_HOSTS", "LOG_LEVEL"}
    assert not source.names & (own | {"SECURE_COOKIES", "CSRF_TRUSTED_ORIGINS", "TIME_ZONE"})
    assert {"HEARTBEAT", "CLIENT_RATE", "NODE_ENV", "SESSION_DATABASE_URL"} <= source.names


def test_relative_paths_begin_at_base(given: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert environment.read()["data_dir"] == Path("var")
    assert environment.read(base=tmp_path)["data_dir"] == tmp_path / "var"
    given.setenv("DATA_DIR", "data")
    assert environment.read(base=tmp_path)["data_dir"] == tmp_path / "data"
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_a_file_is_read_only_if_it_is_named(given: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_text("HEARTBEAT=3\nPONG_TIMEOUT=4\n")
    assert environment.read()["heartbeat"] == Conf().heartbeat
    given.setenv("PONG_TIMEOUT", "5")
    found = environment.read(file=file)
    assert (found["heartbeat"], found["pong_timeout"]) == (3, 5)


def test_a_prefix_is_part_of_every_name(given: pytest.MonkeyPatch) -> None:
    given.setenv("HEARTBEAT", "3")
    given.setenv("GW_HEARTBEAT", "4")
    assert environment.read(prefix="GW_")["heartbeat"] == 4
    given.setenv("GW_CLIENT_RATE", "many")
    given.setenv("GW_LEASE_TTL", "10")
    given.setenv("GW_LEASE_RENEW", "8")
    with pytest.raises(WrongSettings) as error:
        environment.read(prefix="GW_")
    rate, lease = error.value.faults
    assert rate.names == ("GW_CLIENT_RATE",) and rate.text.startswith("GW_CLIENT_RATE: 'many'")
    assert lease.names == ("GW_LEASE_TTL", "GW_LEASE_RENEW")
    assert lease.text.startswith("GW_LEASE_TTL: 10 s is less than twice GW_LEASE_RENEW ")


def test_all_faults_are_told_together(given: pytest.MonkeyPatch) -> None:
    given.setenv("HEARTBEAT", "25s")
    given.setenv("AUTH", "ldap")
    with pytest.raises(WrongSettings) as error:
        environment.read()
    assert [fault.names[0] for fault in error.value.faults] == ["AUTH", "HEARTBEAT"]


def test_a_project_notes_its_own_beside_them() -> None:
    source = Variables({"HEARTBEAT": "25s", "CONNECTIONS": "many"}, patient=True)
    source.integer("CONNECTIONS", 5)
    assert gather(source)["heartbeat"] == Conf().heartbeat
    with pytest.raises(WrongSettings) as error:
        source.refuse()
    assert [fault.names for fault in error.value.faults] == [("CONNECTIONS",), ("HEARTBEAT",)]


def test_what_only_a_node_needs_is_judged_when_one_starts(given: pytest.MonkeyPatch) -> None:
    """Rule 11: a web process has the same variables, or fewer, and starts."""
    given.setenv("ENVIRONMENT", "production")
    given.setenv("AUTH", "insecure,jwt,proxy")
    given.setenv("WORKER_KEYS", "a:short")
    given.setenv("WEBHOOKS", "user_online")
    conf = Conf(**environment.read())
    refused = [fault.names[0] for fault in refusals(conf)]
    assert refused == [
        *("JWT_SECRET", "AUTH", "API_SERVER_URL", "WEBHOOK_SECRET"),
        *("AUTH", "WORKER_KEYS"),
    ]


def test_a_project_may_judge_it_for_all_its_commands(given: pytest.MonkeyPatch) -> None:
    source = Variables({"AUTH": "jwt", "JWT_SECRETS": "a:short", "WEBHOOKS": "x"}, patient=True)
    judge(source, {"environment": "development"} | gather(source))
    with pytest.raises(WrongSettings) as error:
        source.refuse()
    told = [fault.names[0] for fault in error.value.faults]
    assert told == ["JWT_SECRETS", "WEBHOOKS"], "and not what follows from them"


def test_public_keys_are_judged_where_they_are_used(
    given: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rule 10: a plain installation has no cryptography, and need not read them."""
    (tmp_path / "key.pem").write_text("no key")
    given.setenv("JWT_PUBLIC_KEYS", "key.pem")
    assert environment.read(base=tmp_path)["jwt_public_keys"] == (("", "no key"),)


def test_it_may_be_imported_before_django_has_settings() -> None:
    script = "from sockets import environment; print(environment.read()['heartbeat'])"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("25.0\n", "")
