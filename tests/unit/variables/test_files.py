"""The folders of a start, and the secret that is made once and kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sockets.variables.faults import Wrong
from sockets.variables.files import kept_secret, make_folder, no_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_for_the_owner_alone_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert list(no_folder(folder)) == [] and not folder.exists(), "asking writes nothing"
    make_folder(folder)
    assert mode(folder) == 0o700
    folder.chmod(0o755)
    make_folder(folder)
    assert mode(folder) == 0o755 and list(no_folder(folder)) == []


def test_what_is_no_folder_is_told_before_and_when_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "a"
    (wrong,) = no_folder(folder, "STATIC_ROOT")
    assert str(wrong).startswith("STATIC_ROOT: ") and "is no folder" in str(wrong)
    with pytest.raises(Wrong, match=r"DATA_DIR: .* cannot be made \(Not a directory\)"):
        make_folder(folder)


def test_a_folder_that_may_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = "sockets.variables.files.os.access"  # root may anything
    monkeypatch.setattr(access, lambda path, _: path != tmp_path)
    (wrong,) = no_folder(tmp_path / "a")
    assert f"this user may not write in {str(tmp_path)!r}" in str(wrong)
    assert list(no_folder(tmp_path)) == [], "it need not be made"


def test_the_secret_is_made_once_and_kept_for_the_owner(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret"
    first = kept_secret(file)
    assert len(first) > 60 and mode(file) == 0o600
    assert kept_secret(file) == first
    assert os.listdir(file.parent) == ["secret"], "no draft is left"


def test_of_two_that_make_it_at_once_both_get_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "secret", os.link

    def second(source: Any, target: Any) -> None:
        file.write_text("of the other process\n")
        link(source, target)

    monkeypatch.setattr("sockets.variables.files.os.link", second)
    assert kept_secret(file) == "of the other process"
    assert os.listdir(tmp_path) == ["secret"]


def test_an_empty_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" \n")
    with pytest.raises(Wrong, match=r"SECRET_KEY: .* is empty"):
        kept_secret(tmp_path / "secret")


def test_a_secret_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, why in (("folder", "Is a directory"), ("bytes", "UnicodeDecodeError")):
        with pytest.raises(Wrong, match=rf"neither made nor read \({why}\); set it, or mend"):
            kept_secret(tmp_path / name)
