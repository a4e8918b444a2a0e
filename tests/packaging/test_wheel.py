"""The wheel: everything of `sockets` and nothing else, whichever way it is built."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import sockets
from sockets.base.extras import DISTRIBUTION
from tests.packaging.conftest import Built
from tests.packaging.environments import build
from tests.support.gateway import ROOT


def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_has_every_file_of_the_package_and_no_other(built: Built) -> None:
    """Lua, templates, translations, migrations, `py.typed` and the browser client are some."""
    command = ["git", "ls-files", "-c", "-o", "--exclude-standard", "sockets"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    own = {name for name in listed.splitlines() if (ROOT / name).is_file()}
    assert {
        "sockets/py.typed",
        "sockets/static/sockets/gateway.js",
        "sockets/presence/lua/user.lua",
        "sockets/migrations/0001_initial.py",
        "sockets/templates/admin/sockets/accesskey/made.html",
        "sockets/locale/ko/LC_MESSAGES/django.mo",
    } <= own
    info = f"{DISTRIBUTION.replace('-', '_')}-{sockets.__version__}.dist-info"
    found = names(built.wheel)
    assert {name for name in found if not name.startswith(f"{info}/")} == own
    assert f"{info}/licenses/LICENSE" in found


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """`built.wheel` is of the sdist, this one of the checkout: byte for byte the same."""
    (straight,) = build(tmp_path, "--wheel")
    assert straight.read_bytes() == built.wheel.read_bytes()


def test_the_sdist_holds_nothing_of_the_project_around(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        paths = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
    beside = {str(path) for path in paths if path.parts and path.parts[0] != "sockets"}
    assert beside == {
        *(".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "hatch_build.py"),
        "pyproject.toml",
    }


def test_an_index_would_take_both(built: Built) -> None:
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict"]
    done = subprocess.run(
        [*command, str(built.wheel), str(built.sdist)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.count("PASSED")) == (0, 2), done.stdout


def told_by(wheel: Path) -> Message:
    info = f"{DISTRIBUTION.replace('-', '_')}-{sockets.__version__}.dist-info"
    with ZipFile(wheel) as archive:
        return HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())


def test_its_description_can_be_read_anywhere(built: Built) -> None:
    """It is README.md, without what leads to files of the repository."""
    text = str(told_by(built.wheel).get_payload())
    readme = (ROOT / "README.md").read_text()
    assert "](docs/" in readme and "](docs/images/" in readme
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "**Add it to your Django project** in fifteen minutes" in text
    assert text.count("```") == readme.count("```") and text.startswith("# Gateway\n")


def test_what_it_says_of_itself(built: Built) -> None:
    told = told_by(built.wheel)
    assert (told["Name"], told["Version"]) == (DISTRIBUTION, sockets.__version__)
    assert (told["License-Expression"], told["License-File"]) == ("MIT", "LICENSE")
    assert told["Requires-Python"] == ">=3.11"
    assert told["Summary"] and told["Description-Content-Type"] == "text/markdown"
    kinds = told.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(kinds)
    assert {f"Framework :: Django :: {version}" for version in ("5.2", "6.0", "6.1")} <= set(kinds)
    assert told.get_all("Provides-Extra") == ["server"]
