"""Secrets and keys, of which no refusal shows one."""

from __future__ import annotations

import hashlib

import pytest

from sockets.variables.faults import Wrong
from tests.support.variables import env, fault


class TestKeys:
    def test_only_the_hash_is_kept(self) -> None:
        keys = env(A="one:s3cret, two:a:b").keys("A")
        assert keys == {
            "one": hashlib.sha256(b"s3cret").hexdigest(),
            "two": hashlib.sha256(b"a:b").hexdigest(),
        }
        assert env().keys("A") == {}

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("hunter2", "no colon"),
            ("one:hunter2,", "no colon"),
            ("one:", "is empty"),
            (":hunter2", "no proper name"),
            ("on e:hunter2", "no proper name"),
            ("one:hunter2,one:hunter3", "twice"),
            ("one:hunter2,two:hunter2", "another key"),
        ],
    )
    def test_wrong_ones_do_not_show_the_secret(self, text: str, what: str) -> None:
        with pytest.raises(Wrong, match=what) as error:
            env(A=text).keys("A")
        assert "hunter" not in fault(error)

    def test_short_secret(self) -> None:
        with pytest.raises(Wrong, match="7 bytes are too short") as error:
            env(A="hunter2").secret("A", at_least=32)
        assert "hunter2" not in fault(error)
        assert env(A="ü" * 16).secret("A", at_least=32) == "ü" * 16  # bytes, not characters


class TestLabelledSecrets:
    def test_in_their_order(self) -> None:
        given = f" a:{'x' * 32} ,b:{'y:' * 16}"
        found = env(KEYS=given).labelled_secrets("KEYS", at_least=32)
        assert found == (("a", "x" * 32), ("b", "y:" * 16))
        assert env().labelled_secrets("KEYS", at_least=32) == ()

    @pytest.mark.parametrize(
        "given",
        [
            "no-colon",
            ":secretsecretsecretsecretsecretse",
            f"a b:{'x' * 32}",
            f"a:{'x' * 32},a:{'y' * 32}",
            "a:short",
            ",".join(f"k{n}:{'x' * 32}" for n in range(17)),
        ],
    )
    def test_what_is_wrong_is_told_and_no_secret_shown(self, given: str) -> None:
        with pytest.raises(Wrong) as error:
            env(KEYS=given).labelled_secrets("KEYS", at_least=32)
        assert "xxx" not in fault(error) and "secretsecret" not in fault(error)
