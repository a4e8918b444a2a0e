"""What scripts/test does about programs that a machine has not: on a PATH of our own making."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import ROOT

COMMON = ("bash", "dirname", "env", "timeout", "mktemp", "cat", "tail", "rm", "sed", "true")
PROGRAMS = ("chromium", "nginx", "caddy", "faketime")
READY = """source scripts/_setup; source scripts/_machine
PATH=$MADE; ready_machine; echo "ready $CHROMIUM" """


class Machine:
    """One with the programs named, a user, and an apt-get that notes what it is asked for."""

    def __init__(self, folder: Path, uid: int = 1000, has: tuple[str, ...] = ()) -> None:
        self.bin, self.notes = folder / "bin", folder / "notes"
        self.bin.mkdir()
        self.notes.touch()
        for name in COMMON:
            found = shutil.which(name)
            assert found
            (self.bin / name).symlink_to(found)
        self.make("id", f"echo {uid}")
        self.make("apt-cache", '[ "$2" != chromium-headless-shell ]')
        self.make("sudo", f'echo "sudo $*" >>{self.notes}; shift; exec "$@"')
        for name in has:
            self.make(name)

    def make(self, name: str, script: str = "exit 0") -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def installs(self, *names: str) -> None:
        """An apt-get whose `install` brings these."""
        lines = [
            f"printf '#!/bin/bash\\n' >{self.bin}/{n}; /bin/chmod +x {self.bin}/{n}" for n in names
        ]
        wanted = (
            f'echo "apt-get $*" >>{self.notes}; case " $* " in *" install "*) ;; *) exit 0 ;; esac'
        )
        self.make("apt-get", "\n".join([wanted, *lines]))

    def ready(self, *, within: float = 5, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", READY],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "MADE": f"{self.bin}",
                "TMPDIR": f"{self.notes.parent}",
            }
            | environ,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )


def test_nothing_is_installed_where_all_is_there(tmp_path: Path) -> None:
    one = Machine(tmp_path, uid=0, has=PROGRAMS)
    one.installs()
    done = one.ready()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ready {one.bin}/chromium\n"
    assert one.notes.read_text() == ""


@pytest.mark.parametrize("environ", [{}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}])
def test_a_user_gets_one_line_and_no_question(tmp_path: Path, environ: dict[str, Any]) -> None:
    one = Machine(tmp_path, has=("faketime",))
    one.installs(*PROGRAMS)
    done = one.ready(**environ)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("missing: Chromium, nginx, Caddy. Install: sudo apt-get update && ")
    assert "sudo apt-get install -y chromium nginx caddy (" in line
    assert one.notes.read_text() == "", "neither sudo nor apt-get was called"


def test_root_installs_what_is_missing_and_no_more(tmp_path: Path) -> None:
    one = Machine(tmp_path, uid=0, has=("caddy", "faketime"))
    one.installs("chromium", "nginx")
    done = one.ready()
    assert done.stderr == "missing: Chromium, nginx. Installing: chromium nginx\n"
    assert done.stdout == f"ready {one.bin}/chromium\n"
    (update, install) = one.notes.read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install --no-install-recommends --reinstall chromium nginx")
    assert "sudo" not in install


def test_the_chromium_without_windows_comes_with_it_where_there_is_one(tmp_path: Path) -> None:
    one = Machine(tmp_path, uid=0, has=("nginx", "caddy", "faketime"))
    one.make("apt-cache")
    one.installs("chromium")
    assert one.ready().returncode == 0
    (_, install) = one.notes.read_text().splitlines()
    assert install.endswith(" --reinstall chromium chromium-headless-shell")


def test_ci_installs_by_sudo_that_asks_for_no_password(tmp_path: Path) -> None:
    one = Machine(tmp_path, has=("chromium", "nginx", "caddy"))
    one.installs("faketime")
    assert one.ready(CI="1").returncode == 0
    calls = [line for line in one.notes.read_text().splitlines() if line.startswith("sudo")]
    assert len(calls) == 3  # whether it may, update, install
    assert all(line.startswith("sudo -n ") for line in calls)


def test_ci_whose_sudo_asks_is_told_in_one_line(tmp_path: Path) -> None:
    one = Machine(tmp_path, has=("chromium", "nginx", "caddy"))
    one.installs("faketime")
    one.make("sudo", "exit 1")
    done = one.ready(CI="true")
    assert done.returncode == 1
    assert done.stderr == (
        "missing: faketime. Install: sudo apt-get update && sudo apt-get install -y faketime\n"
    )


def test_an_install_that_brings_nothing_is_no_success(tmp_path: Path) -> None:
    one = Machine(tmp_path, uid=0, has=("chromium", "nginx", "faketime"))
    one.make("apt-get", "echo no space left; exit 100")
    done = one.ready()
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("missing: Caddy. Install: apt-get update")


def test_a_machine_without_apt_is_told_what_is_missing(tmp_path: Path) -> None:
    done = Machine(tmp_path, uid=0, has=("chromium",)).ready()
    assert done.returncode == 1
    assert (
        done.stderr
        == "missing: nginx, Caddy, faketime. Install: with this machine's package manager\n"
    )


def test_a_browser_that_is_named_is_taken(tmp_path: Path) -> None:
    one = Machine(tmp_path, has=("nginx", "caddy", "faketime", "chrome-of-mine"))
    done = one.ready(CHROMIUM=f"{one.bin}/chrome-of-mine")
    assert done.stdout == f"ready {one.bin}/chrome-of-mine\n"


def test_a_wrong_browser_is_named(tmp_path: Path) -> None:
    one = Machine(tmp_path, has=("chromium", "nginx", "faketime"))
    one.installs()
    done = one.ready(CHROMIUM="/no/such/browser")
    assert (done.returncode, done.stdout) == (1, "")
    wrong = "missing: the browser of CHROMIUM=/no/such/browser (name another, or none), Caddy."
    assert done.stderr.startswith(wrong)


def test_programs_that_hang_are_waited_for_together(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    one.installs()
    for name in PROGRAMS:
        one.make(name, "exec /bin/sleep 30")
    assert "missing: Chromium, nginx, Caddy, faketime." in one.ready(within=15).stderr


def test_a_program_that_does_not_run_is_missing(tmp_path: Path) -> None:
    """A snap's stub, a broken link, a file that a mount hides."""
    one = Machine(tmp_path, has=("chromium", "caddy", "faketime"))
    one.make("nginx", "echo cannot start >&2; exit 127")
    assert "missing: nginx." in one.ready().stderr


def test_ci_runs_the_one_test_command() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith("#")]
    assert code == ['exec "$(dirname "$0")/../scripts/test"']
