"""The signature of webhooks: a fixed vector, and everything that must not pass."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.signatures import sign, verify

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
SECRET = "0123456789abcdef0123456789abcdef"
BODY = b'{"events":[{"type":"user_online","user":"42"}]}'
NOW = 1_800_000_000
# printf '1800000000.%s' "$BODY" | openssl dgst -sha256 -hmac "$SECRET"
HEX = "aef9603f06186dcda141c51f49ca9c6a84f9c7a1ba7828b7feaa256e1856b48b"
HEADER = f"t={NOW},v1={HEX}"


def test_the_fixed_vector() -> None:
    assert sign(SECRET, NOW, BODY) == HEADER
    assert verify(SECRET, HEADER, BODY, now=NOW)


@pytest.mark.parametrize(
    ("header", "good"),
    [
        (f"t={NOW}, v1={HEX}", True),
        (f"v1={HEX},t={NOW}", True),
        (f"t={NOW},v0=old,v1={'0' * 64},v1={HEX},v2=new", True),
        ("", False),
        (HEX, False),
        (f"t={NOW}", False),
        (f"v1={HEX}", False),
        (f"t={NOW},v2={HEX}", False),
        (f"t={NOW},v1={HEX.upper()}", False),
        (f"t={NOW},v1={HEX[:-1]}", False),
        (f"t={NOW},v1=", False),
        (f"t={NOW + 1},v1={HEX}", False),
        (f"t={NOW},t={NOW},v1={HEX}", False),
        (f"t=-{NOW},v1={HEX}", False),
        (f"t=\u0661,v1={HEX}", False),
        (f"t={'9' * 5000},v1={HEX}", False),
        (f"t={'9' * 900},v1={HEX}", False),
        (f"t={NOW},v1=\ud800\u00e4", False),
    ],
)
def test_headers(header: str, good: bool) -> None:
    assert verify(SECRET, header, BODY, now=float(NOW)) is good


def test_receivers_that_copy_the_documents_code_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [block] = [block for block in blocks if "def verify" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    assert names["verify"](SECRET, HEADER, BODY)
    for header in ("", "t=x,v1=y", f"t={'9' * 400},v1={HEX}", f"t={NOW},v1=\u00e4"):
        assert not names["verify"](SECRET, header, BODY)
    assert not names["verify"](SECRET, HEADER, BODY + b" ")
    monkeypatch.setattr(time, "time", lambda: float(NOW + 301))
    assert not names["verify"](SECRET, HEADER, BODY)


def test_another_body_or_secret() -> None:
    assert not verify(SECRET, HEADER, BODY + b" ", now=NOW)
    assert not verify(SECRET + "0", HEADER, BODY, now=NOW)


@pytest.mark.parametrize(("age", "good"), [(0, True), (60, True), (61, False)])
@pytest.mark.parametrize("sign_of", [1, -1])
def test_an_old_one_and_one_from_the_future(age: int, good: bool, sign_of: int) -> None:
    assert verify(SECRET, HEADER, BODY, tolerance=60, now=NOW + age * sign_of) is good


def test_it_looks_at_the_clock_itself() -> None:
    assert verify(SECRET, sign(SECRET, int(time.time()), BODY), BODY)
    assert not verify(SECRET, sign(SECRET, int(time.time()) - 3600, BODY), BODY)


@given(st.text(min_size=1), st.integers(0, 10**12 - 1), st.binary())
def test_what_is_signed_verifies(secret: str, timestamp: int, body: bytes) -> None:
    header = sign(secret, timestamp, body)
    assert verify(secret, header, body, now=timestamp)
    assert not verify(secret, header, body + b"\0", now=timestamp)


@given(st.text())
def test_no_header_raises(header: str) -> None:
    assert not verify(SECRET, header, BODY)
