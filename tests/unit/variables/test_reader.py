"""The strict readers: what each takes, and the one line with which it refuses the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sockets.conf import WrongSettings
from sockets.variables.faults import Wrong
from sockets.variables.reader import Variables


def env(**given: str) -> Variables:
    return Variables(given)


def fault(error: pytest.ExceptionInfo[Wrong]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.count(";") >= 1, "fault and remedy"
    return text


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


class TestFlag:
    @pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "on", " on "])
    def test_true(self, text: str) -> None:
        assert env(A=text).flag("A", False) is True

    @pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
    def test_false(self, text: str) -> None:
        assert env(A=text).flag("A", True) is False

    @pytest.mark.parametrize("text", ["banana", "2", "ja", "truee"])
    def test_neither(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).flag("A", False)
        assert fault(error).startswith("A: ")


class TestNumbers:
    def test_integer(self) -> None:
        assert env(A=" 12 ").integer("A", 0) == 12

    @pytest.mark.parametrize("text", ["1.5", "1_000", "0x10", "many", "12 # comment", "١٢", "1e3"])
    def test_no_integer(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).integer("A", 0)
        assert "A: " in fault(error)

    @pytest.mark.parametrize("text", ["0", "-1", "11"])
    def test_out_of_range(self, text: str) -> None:
        with pytest.raises(Wrong, match="from 1 to 10"):
            env(A=text).integer("A", 5, minimum=1, maximum=10)

    @pytest.mark.parametrize(("text", "port"), [("0", 0), ("65535", 65535)])
    def test_port(self, text: str, port: int) -> None:
        assert env(A=text).port("A", 4000) == port

    @pytest.mark.parametrize("text", ["65536", "-1", "http"])
    def test_no_port(self, text: str) -> None:
        with pytest.raises(Wrong):
            env(A=text).port("A", 4000)

    @pytest.mark.parametrize(("text", "value"), [("10", 10.0), ("0.5", 0.5)])
    def test_seconds(self, text: str, value: float) -> None:
        assert env(A=text).seconds("A", 1) == value

    @pytest.mark.parametrize("text", ["nan", "inf", "-1", "10s", "1e3", "0", "99999999999"])
    def test_no_seconds(self, text: str) -> None:
        with pytest.raises(Wrong):
            env(A=text).seconds("A", 1)

    @pytest.mark.parametrize(("text", "value"), [("50", 50.0), ("0.5", 0.5), ("0", 0.0)])
    def test_rate(self, text: str, value: float) -> None:
        assert env(A=text).rate("A", 1, "frames") == value

    @pytest.mark.parametrize("text", ["nan", "-1", "50/s", "1e3"])
    def test_no_rate(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).rate("A", 1, "frames")
        assert fault(error) == (
            f"A: {text!r} is not a number of frames a second; "
            "write a number such as 50 or 0.5, or 0 for any number"
        )

    def test_a_rate_out_of_range(self) -> None:
        with pytest.raises(Wrong, match="frames a second is out of range") as error:
            env(A="9" * 12).rate("A", 1, "frames")
        assert "ten years" not in fault(error)


class TestLists:
    def test_white_space_round_items_is_dropped(self) -> None:
        assert env(A=" a , b c ,d").words("A") == ("a", "b c", "d")

    @pytest.mark.parametrize("text", ["a,,b", "a,", ",a", "a,a"])
    def test_empty_and_double_items(self, text: str) -> None:
        with pytest.raises(Wrong):
            env(A=text).words("A")

    def test_choices(self) -> None:
        assert env(A="JWT, insecure").choices("A", (), ("jwt", "insecure")) == ("jwt", "insecure")
        with pytest.raises(Wrong, match="choose from jwt, insecure"):
            env(A="jwt,none").choices("A", (), ("jwt", "insecure"))


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


class TestUrls:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("ws://localhost:4000", "ws://localhost:4000"),
            ("wss://gw.example/ws/client/", "wss://gw.example/ws/client"),
            ("ws://[::1]:4000", "ws://[::1]:4000"),
        ],
    )
    def test_url(self, text: str, url: str) -> None:
        assert env(A=text).url("A", ("wss", "ws")) == url

    @pytest.mark.parametrize(
        "text",
        [
            "localhost:4000",
            "http://localhost",
            "ws://",
            "ws://host:0",
            "ws://host:99999",
            "ws://host:port",
            "ws://a b",
            "ws://user:hunter2@host",
            "ws://host/?a=1",
            "ws://host/#a",
            "ws://[::1",
        ],
    )
    def test_no_url(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).url("A", ("wss", "ws"))
        assert "hunter2" not in fault(error)

    @pytest.mark.parametrize("text", ["/", "/gateway/events", "/a%20b/c-d_e.f~g/"])
    def test_path(self, text: str) -> None:
        assert env(A=text).url_path("A", "/default") == text
        assert env().url_path("A", "/default") == "/default"

    @pytest.mark.parametrize("text", ["events", "/a?b=c", "/a#b", "/a b", "/ä", "/a\x00b", "/a\\b"])
    def test_no_path(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).url_path("A", "/default")
        assert fault(error).startswith("A: ")

    @pytest.mark.parametrize(
        ("text", "origins"),
        [
            ("*", ("*",)),
            ("http://localhost:3000", ("http://localhost:3000",)),
            ("HTTPS://App.Example:443", ("https://app.example",)),
            ("http://a.example:443", ("http://a.example:443",)),
            ("http://[::1]:3000,https://b", ("http://[::1]:3000", "https://b")),
            ("https://한국.example", ("https://xn--3e0b707e.example",)),
            ("https://*.Example.com:443", ("https://*.example.com",)),
            (
                "Capacitor://Localhost, tauri://localhost",
                ("capacitor://localhost", "tauri://localhost"),
            ),
            ("chrome-extension://abcd:80", ("chrome-extension://abcd:80",)),
        ],
    )
    def test_origins_as_browsers_send_them(self, text: str, origins: tuple[str, ...]) -> None:
        assert env(A=text).origins("A", below=True) == origins

    def test_subdomains_only_where_they_are_meant(self) -> None:
        with pytest.raises(Wrong) as error:
            env(A="https://*.example.com").origins("A")
        assert "more than one origin" in fault(error)

    def test_apps_only_where_they_are_meant(self) -> None:
        with pytest.raises(Wrong) as error:
            env(A="capacitor://localhost").origins("A")
        assert fault(error) == (
            "A: 'capacitor://localhost' is the origin of an app; list http and https only"
        )

    @pytest.mark.parametrize("text", ["null", "NULL", "https://a.example,null"])
    def test_null_comes_with_its_remedy(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).origins("A", below=True)
        assert "never let in; serve those pages by http or https, and list" in fault(error)

    @pytest.mark.parametrize(
        "text",
        [
            "localhost:3000",
            "https://a.example/",
            "https://a.example/path",
            "https://*.example",
            "*,https://a.example",
            "null",
            "ws://a.example",
            "https://user@a.example",
            "https://a.example?",
            "https://admin:hunter2@a.example",
            "https://" + "a" * 70_000,
        ],
    )
    def test_no_origin(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).origins("A", below=True)
        assert "hunter2" not in fault(error)
        assert len(fault(error)) < 400

    def test_time_zone(self) -> None:
        assert env().time_zone("A", "UTC") == "UTC"
        for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu"):
            assert env(A=zone).time_zone("A", "UTC") == zone

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("europe/berlin", "write Europe/Berlin"),
            ("utc", "write UTC"),
            ("Berlin", "write Europe/Berlin, Asia/Seoul or UTC"),
            ("+02:00", "write Europe/Berlin, Asia/Seoul or UTC"),
            ("../../etc/passwd", "write Europe/Berlin"),
            ("/usr/share/zoneinfo/UTC", "write Europe/Berlin"),
            ("right/UTC", "write Europe/Berlin"),
            ("Europe", "write Europe/Berlin"),
            ("x" * 70_000, "write Europe/Berlin"),
        ],
    )
    def test_no_time_zone(self, text: str, remedy: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).time_zone("A", "UTC")
        assert f"is no time zone of this machine; {remedy}" in fault(error)
        assert len(fault(error)) < 400 and "\n" not in fault(error)

    def test_redis(self) -> None:
        assert env(A="rediss://:pw@host:6379/0").redis_url("A")
        assert env(A="unix:///run/redis.sock").redis_url("A")
        with pytest.raises(Wrong) as error:
            env(A="http://:hunter2@host").redis_url("A")
        assert "hunter2" not in fault(error)


class TestDatabase:
    def test_postgres(self) -> None:
        found = env(A="postgres://me:p%40ss@db:5433/gw").database("A")
        assert found is not None
        assert (found["ENGINE"], found["NAME"]) == ("django.db.backends.postgresql", "gw")
        assert (found["USER"], found["PASSWORD"]) == ("me", "p@ss")
        assert (found["HOST"], found["PORT"]) == ("db", 5433)

    def test_sqlite(self) -> None:
        found = env(A="sqlite:////data/gw.db").database("A")
        assert found is not None
        assert found["NAME"] == "/data/gw.db"

    @pytest.mark.parametrize(
        "text",
        [
            "mysql://a:hunter2@b/c",
            "hunter2",
            "sqlite://",
            "sqlite://:memory:",
            "postgres://a:hunter2@b:port/c",
            "postgres://a:hunter2@b",
        ],
    )
    def test_others(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).database("A")
        assert "hunter2" not in fault(error)


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
