"""Who was refused."""

from __future__ import annotations

from django.test import Client

from sockets.reports import TurnedAwayList
from sockets.types import Kind
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, page, words
from tests.unit.admin.operations.values import FixedSource


def test_who_why_and_from_where(reader: Client, fixed: FixedSource) -> None:
    text = page(reader, "refusal/")
    said = words(text)
    for word in ("kim", "unauthorized 4501", "the token has expired", "12 times since", "HTTP 403",
                 "https://shop.example", "Chrome on Windows", "2 more lines", "3 older",
                 "node-4"):  # fmt: skip
        assert word in said, word
    assert f'href="{ROOT}gatewayuser/?user=kim"' in text


def test_a_search(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["refusals"] = TurnedAwayList([], 0, 0, [])
    assert "Nobody was refused" in words(page(reader, "refusal/"))
    text = page(reader, "refusal/", user=" kim ", address="10.0.")
    assert fixed.calls[-1][2] == {"user": "kim", "address": "10.0.", "limit": 100}
    assert "Nobody like this" in words(text) and 'value="10.0."' in text


def test_a_worker_is_no_user(reader: Client, fixed: FixedSource) -> None:
    away = values.turned_away(kind=Kind.WORKER, user="converter", client_id="")
    fixed.answers["refusals"] = TurnedAwayList([away], 0, 0, [])
    text = page(reader, "refusal/")
    assert "?user=converter" not in text and "converter worker" in words(text)
