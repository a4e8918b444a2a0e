"""`Variables`: what is unset, what is noted, and what a file adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockets.conf import WrongSettings
from sockets.variables.faults import Wrong
from sockets.variables.reader import Variables
from tests.support.variables import env, fault


class TestRaw:
    def test_empty_and_blank_count_as_unset(self) -> None:
        assert env(A="").raw("A") is None
        assert env(A="  ").raw("A") is None
        assert env().integer("A", 7) == 7
        assert env(A="").flag("A", True) is True
        assert env(A="").seconds("A", 2.5) == 2.5

    def test_a_dollar_is_a_dollar(self) -> None:
        assert env(A="$B", B="other").secret("A") == "$B"

    def test_names_are_collected(self) -> None:
        source = env(A="1")
        source.integer("A", 0)
        source.flag("B", False)
        assert source.names == {"A", "B"}


class TestPatience:
    def test_faults_are_noted_and_raised_together(self) -> None:
        source = Variables({"A": "x", "B": "y"}, patient=True)
        assert (source.integer("A", 7), source.flag("B", True)) == (7, True)
        assert source.raw("A") is None and source.given("A") == "x"
        with pytest.raises(WrongSettings) as error:
            source.refuse()
        assert [fault.names for fault in error.value.faults] == [("A",), ("B",)]

    def test_what_follows_from_a_wrong_variable_is_not_told(self) -> None:
        source = Variables({"A": "x"}, patient=True)
        source.integer("A", 7)
        source.note(Wrong("B", "it is less than A", "choose more", also=["A"]))
        with pytest.raises(WrongSettings) as error:
            source.refuse()
        assert [fault.names for fault in error.value.faults] == [("A",)]

    def test_a_default_may_be_wrong_too(self) -> None:
        source = Variables({}, patient=True)
        assert source.label("A", "no label") == "no label"
        with pytest.raises(WrongSettings, match="no proper name"):
            source.refuse()

    def test_nothing_wrong_nothing_raised(self) -> None:
        Variables({}, patient=True).refuse()


class TestFile:
    def test_the_environment_wins(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("# a comment\n\nexport A=file\nB='quoted # value'\nC=x\n")
        source = Variables({"A": "given", "C": ""}, file)
        assert source.raw("A") == "given"
        assert source.raw("B") == "quoted # value"
        assert source.raw("C") is None  # set but empty: hides the file's

    def test_a_hash_in_a_secret_stays(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("A=abc#def\n")
        assert Variables({}, file).raw("A") == "abc#def"

    def test_the_process_is_not_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import os

        monkeypatch.delenv("ONLY_IN_FILE", raising=False)
        file = tmp_path / ".env"
        file.write_text("ONLY_IN_FILE=1\n")
        assert Variables(os.environ, file).raw("ONLY_IN_FILE") == "1"
        assert "ONLY_IN_FILE" not in os.environ

    @pytest.mark.parametrize("line", ["A - hunter2", "hunter2", "  A hunter2"])
    def test_a_line_that_would_be_skipped_is_wrong(self, tmp_path: Path, line: str) -> None:
        file = tmp_path / ".env"
        file.write_text(f"B=1\n{line}\n")
        with pytest.raises(Wrong, match=r"\.env, line 2") as error:
            Variables({}, file)
        assert "hunter2" not in fault(error)
