"""Plain values: what each reader takes, and the one line with which it refuses the rest."""

from __future__ import annotations

import pytest

from sockets.variables.faults import Wrong
from tests.support.variables import env, fault


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


class TestTimeZones:
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
