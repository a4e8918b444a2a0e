"""What static/sockets/gateway.js lets out, and what it tells the page of losses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.script import Script

SENT = """async ([event, data]) => {
  const refused = (error) => `${error.code}: ${error.message}`;
  const answer = gateway.send(event, data).then(() => "sent", refused);
  await Promise.resolve();
  return Promise.race([answer, new Promise((resolve) => queueMicrotask(() => resolve("left")))]);
}"""


async def online(script: Script, **limits: int) -> None:
    assert script.welcome is not None
    if limits:
        script.welcome["limits"] = limits
    await script.connect()
    await script.becomes("online")


async def size_of_frame(script: Script, data: Any) -> int:
    """The bytes of the frame that was sent last, had it had this data."""
    return len(
        json.dumps(
            {**script.frames[-1], "data": data}, ensure_ascii=False, separators=(",", ":")
        ).encode()
    )


@pytest.mark.parametrize("unit", ["a", "é", "字", "🎉", '"', "\n"])
async def test_what_is_too_large_does_not_leave(script: Script, unit: str) -> None:
    """The server would close the socket for it (1009)."""
    await online(script, frame=1000, message=10)
    assert await script.page.evaluate(SENT, ["x", ""]) == "left"
    await script.until(lambda: len(script.frames) == 1)
    each = await size_of_frame(script, unit) - await size_of_frame(script, "")
    fits = (1000 - await size_of_frame(script, "")) // each
    assert await script.page.evaluate(SENT, ["x", unit * fits]) == "left"
    await script.until(lambda: len(script.frames) == 2)
    assert 1000 - each < await size_of_frame(script, unit * fits) <= 1000
    refusal = await script.page.evaluate(SENT, ["x", unit * (fits + 1)])
    assert refusal.startswith("too_large: ") and "1000 bytes" in refusal
    assert await script.page.evaluate(SENT, ["x", "after"]) == "left"
    await script.until(lambda: len(script.frames) == 3)
    assert script.frames[-1]["data"] == "after"
    assert len(script.sockets) == 1


async def test_the_limit_is_that_of_the_last_welcome(script: Script) -> None:
    await online(script, frame=100)
    assert "too_large" in await script.page.evaluate(SENT, ["x", "a" * 100])
    assert script.welcome is not None
    del script.welcome["limits"]
    await script.close(1012)
    await script.becomes("offline")
    assert "offline" in await script.page.evaluate(SENT, ["x", "a" * 100])
    await script.page.evaluate("gateway.connect()")
    await script.becomes("online")
    assert await script.page.evaluate(SENT, ["x", "a" * 100]) == "left"


async def test_half_an_emoji_arrives_as_text(script: Script) -> None:
    await online(script)
    await script.page.evaluate(
        r"""() => {
          const cut = "party 🎉".slice(0, 7), rest = "🎉".slice(1);
          gateway.send("chat" + rest, {
            cut, rest, whole: "🎉", both: rest + cut.at(-1), deep: [{ [cut]: [[cut]] }],
            written: "\\ud83c", twice: "\\\\" + rest, control: "\u0001\n\"",
            capital: "\uDBFF", raw: { toJSON: () => cut },
          });
        }"""
    )
    await script.until(lambda: bool(script.sent("send")))
    [frame] = script.frames
    assert frame["event"] == "chat\ufffd"
    assert frame["data"] == {
        "cut": "party \ufffd",
        "rest": "\ufffd",
        "whole": "🎉",
        "both": "\ufffd\ufffd",
        "deep": [{"party \ufffd": [["party \ufffd"]]}],
        "written": "\\ud83c",
        "twice": "\\\\\ufffd",
        "control": '\x01\n"',
        "capital": "\ufffd",
        "raw": "party \ufffd",
    }
    wanted = await script.page.evaluate("'party 🎉'.slice(0, 7).toWellFormed()")
    assert frame["data"]["cut"] == wanted


async def test_a_loss_reaches_the_page_whichever_frame_tells_it(script: Script) -> None:
    await online(script)
    await script.page.evaluate(
        "() => { window.missed = []; gateway.on('missed', (detail) => missed.push(detail)); }"
    )
    script.say(type="ping", missed=3)
    script.say(type="ping")
    script.say(type="message", id="a", event="x", data=1, time=0, missed=2)
    script.say(type="message", id="b", event="x", data=1, time=0, offset=6, missed=1)
    script.say(type="message", id="c", event="x", data=1, time=0)
    await script.page.wait_for_function("heard.message.length === 3")
    assert await script.page.evaluate("missed") == [{"missed": 3}, {"missed": 2}, {"missed": 1}]
    await script.until(lambda: len(script.sent("pong")) == 2)
