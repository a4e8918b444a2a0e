"""A message is written, previewed, and sent once."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client

from sockets.exceptions import GatewayUnavailable
from sockets.types import Receipt
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, do, page, words
from tests.unit.admin.operations.values import NASTY, FixedSource

SEND = "gatewayuser/notify/"
GIVEN = {"user": "kim", "event": "order.paid", "content": '{"order": 7}', "durable": "on"}


def sent(fixed: FixedSource) -> tuple[tuple[object, ...], dict[str, object]]:
    (call,) = [call[1:] for call in fixed.calls if call[0] == "notify_user"]
    return call


def test_a_preview_says_what_is_sent_and_who_gets_it(operator: Client, fixed: FixedSource) -> None:
    fixed.answers["presence_of"] = values.presence("kim", 2)
    assert "2 sessions get it now." in words(page(operator, SEND, user="kim"))
    answer = operator.post(ROOT + SEND, {"asked": "1", **GIVEN, "ttl": "60"})
    text = answer.content.decode()
    said = words(text)
    assert not fixed.done()
    for word in ("2 sessions get it now.", "order.paid", '{ "order": 7 }', "Kept in the stream yes",
                 "Seconds to live 60"):  # fmt: skip
        assert word in said, word
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))
    hidden = {name: html.unescape(value) for name, value in hidden.items()}
    assert hidden["confirmed"] == "1" and hidden["content"] == GIVEN["content"]
    assert operator.post(ROOT + SEND, hidden).status_code == 302
    assert sent(fixed)[0] == ("kim", "order.paid", {"order": 7})


def test_it_can_be_changed_once_more(operator: Client, fixed: FixedSource) -> None:
    answer = operator.post(ROOT + SEND, {**GIVEN, "asked": "1", "confirmed": "1", "change": "1"})
    text = answer.content.decode()
    assert "<textarea" in text and "{&quot;order&quot;: 7}" in text and not fixed.done()


def test_a_second_press_sends_nothing_more(operator: Client, fixed: FixedSource) -> None:
    text = page(operator, SEND, user="kim")
    (key,) = re.findall(r'name="key" value="(\w{26})"', text)
    told = do(operator, SEND, **GIVEN, key=key)
    assert told == ["success: Sent to 2 sessions; its id is 01MM."]
    assert sent(fixed)[1] == {"durable": True, "idempotency_key": key}
    fixed.answers["notify_user"] = Receipt("01MM", "e1", 43, duplicate=True)
    told = do(operator, SEND, **GIVEN, key=key)
    assert told == ["warning: This message was sent before, and not once more."]


def test_now_or_never(operator: Client, fixed: FixedSource) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "durable"}
    do(operator, SEND, **given, key="k", ttl="5", collapse_key="c")
    assert sent(fixed)[1] == {"durable": False, "ttl": 5.0, "collapse_key": "c"}


def test_a_second_press_sends_nothing_more_of_what_is_not_kept(
    operator: Client, fixed: FixedSource
) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "durable"}
    assert do(operator, SEND, **given, key="k1")[0].startswith("success: ")
    told = do(operator, SEND, **given, key="k1")
    assert told == ["warning: This message was sent before, and not once more."]
    sent(fixed)
    do(operator, SEND, **given, key="k2")
    assert len(fixed.done()) == 2, "another form is another message"


def test_what_was_not_sent_can_be_sent_again(operator: Client, fixed: FixedSource) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "durable"} | {"key": "k"}
    fixed.error = GatewayUnavailable("away")
    assert do(operator, SEND, **given)[0].startswith("wrong: ")
    fixed.error = None
    assert do(operator, SEND, **given)[0].startswith("success: ")


def test_nothing_is_null(operator: Client, fixed: FixedSource) -> None:
    do(operator, SEND, **GIVEN | {"content": " \n"})
    assert sent(fixed)[0][2] is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1\n "b": 2}', "line 2, column 2"),
        ("{'a': 1}", "line 1, column 2"),
        ("NaN", "NaN is no number of JSON"),
        ("[" * 100_000, "This is no JSON"),
        ('["\\ud800"]', "\\ud800 is half of a surrogate pair"),
        ('{"\\udfff": 1}', "\\udfff is half of a surrogate pair"),
        ("1e999", "This is no JSON"),
    ],
)
def test_what_is_no_json_is_said_with_its_place(
    operator: Client, fixed: FixedSource, content: str, said: str
) -> None:
    (told,) = do(operator, SEND, **GIVEN | {"content": content})
    assert said in told and not fixed.done()


def test_a_preview_of_something_nasty_is_text(operator: Client, fixed: FixedSource) -> None:
    given = {"asked": "1", **GIVEN, "event": NASTY[:30], "content": '["<b>\\u202e\\u001b"]'}
    text = operator.post(ROOT + SEND, given).content.decode()
    shown = text.partition("gateway-preview")[2].partition("</dl>")[0]
    assert "<b>" not in shown and "\u202e" not in shown and "\x1b" not in shown
