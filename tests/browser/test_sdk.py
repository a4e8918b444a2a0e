"""static/sockets/gateway.js in a real browser, against a socket that follows a script."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from sockets.codes import CloseCode, should_reconnect
from tests.browser.script import HEARTBEAT, PAGE, SOCKET, Script, serve


async def test_the_handshake(script: Script) -> None:
    await script.page.evaluate(
        """() => { const Real = WebSocket; window.offered = [];
          window.WebSocket = class extends Real {
            constructor(...given) { super(...given); window.offered.push(given[1]); } } }"""
    )
    await script.connect()
    await script.becomes("online")
    assert await script.page.evaluate("window.offered") == [
        ["gateway.v1", "gateway.bearer.token-1"]
    ]
    assert set(script.query()) == {"client_id"}
    assert len(script.query()["client_id"]) == 26
    assert await script.position() == {"epoch": "e1", "offset": 5}
    states = [status["state"] for status in await script.heard("status")]
    assert states == ["online"], "connecting was before anybody could listen"


async def test_a_given_position_and_client_id_are_told(script: Script) -> None:
    await script.connect('position: {epoch: "e 0", offset: 3}, clientId: "MINE", query: {x: "1"}')
    await script.becomes("online")
    assert script.query() == {"client_id": "MINE", "epoch": "e 0", "offset": "3", "x": "1"}


@pytest.mark.parametrize("given", ["null", "undefined"])
async def test_without_a_position_it_begins_at_now(script: Script, given: str) -> None:
    await script.connect(f"position: {given}")
    await script.becomes("online")
    assert set(script.query()) == {"client_id"}


async def test_nothing_but_a_position_goes_into_the_handshake(script: Script) -> None:
    """Whatever else the view has put into its JSON, and whatever becomes of that object."""
    await script.page.evaluate("window.given = { epoch: 'e1', offset: 5, user_id: '7' }")
    await script.connect("position: given")
    await script.becomes("online")
    assert set(script.query()) == {"client_id", "epoch", "offset"}
    script.say(type="message", id="a", event="x", data=1, time=0, offset=6)
    await script.page.wait_for_function("gateway.position.offset === 6")
    assert await script.page.evaluate("given.offset") == 5


BAD_OFFSETS = ("'5'", "-1", "1.5", "NaN", "2**53")


@pytest.mark.parametrize(
    "given",
    [
        *("{}", "5", "'e1:5'", "[]", "{ epoch: 'e1' }", "{ offset: 5 }"),
        "{ epoch: 1, offset: 5 }",
        *("{ epoch: '', offset: 5 }", "{ epoch: 'e'.repeat(65), offset: 5 }"),
        *(
            f"{{ epoch: 'e1', offset: {offset} }}"
            for offset in ("'5'", "-1", "1.5", "NaN", "2**53")
        ),
    ],
)
async def test_what_is_no_position_is_refused_where_it_is_written(
    script: Script, given: str
) -> None:
    """The server would close the socket (4500), or take the place of another stream."""
    told = await script.page.evaluate(
        f"""async () => {{ const {{ Gateway }} = await import("/gateway.js");
          try {{ new Gateway("{SOCKET}", {{ position: {given} }}); }}
          catch (error) {{ return `${{error.name}}: ${{error.message}}`; }} }}"""
    )
    assert told.startswith("TypeError: position: ") and "stream_position" in told
    await script.page.clock.run_for(1000)
    assert script.sockets == []


async def test_the_position_follows_the_stream_and_comes_back_with_it(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    script.say(type="message", id="a", event="x", data=1, time=0, offset=6)
    script.say(type="message", id="b", event="x", data=2, time=0)  # ephemeral
    script.say(type="message", id="a", event="x", data=1, time=0, offset=6)  # never twice
    script.say(type="position", offset=9)
    script.say(type="message", id="c", event="x", data=3, time=0, offset=11, prev=9)
    await script.page.wait_for_function("window.gateway.position.offset === 11")
    assert [message["id"] for message in await script.heard("message")] == ["a", "b", "c"]
    await script.close(1012)
    await script.becomes("offline")
    await script.page.clock.fast_forward(1000)
    await script.becomes("online")
    assert (script.query()["epoch"], script.query()["offset"]) == ("e1", "11")
    assert await script.heard("reset") == []


async def test_a_handler_that_throws_stops_nothing(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate(
        """() => { window.reported = 0;
          addEventListener("error", (event) => { window.reported++; event.preventDefault(); });
          gateway.on("message", () => { throw new Error("on purpose"); }); }"""
    )
    script.say(type="message", id="a", event="x", data=1, time=0, offset=6)
    await script.page.wait_for_function("gateway.position.offset === 6 && window.reported === 1")


@pytest.mark.parametrize("how", ["welcome", "reset"])
async def test_what_was_lost_is_announced(script: Script, how: str) -> None:
    if how == "welcome":
        assert script.welcome is not None
        script.welcome |= {"recovered": False, "epoch": "e2", "offset": 40}
    await script.connect('position: {epoch: "e1", offset: 3}')
    await script.becomes("online")
    if how == "reset":
        script.say(type="reset", epoch="e2", offset=40)
    await script.page.wait_for_function("window.heard.reset.length === 1")
    assert await script.position() == {"epoch": "e2", "offset": 40}


async def test_pings_are_answered_and_acks_are_rare(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    script.say(type="ping")
    for offset in range(6, 106):
        script.say(type="message", id=str(offset), event="x", data=None, time=0, offset=offset)
    await script.page.wait_for_function("gateway.position.offset === 105")
    await script.until(lambda: bool(script.sent("pong")))
    await script.page.clock.fast_forward(1000)
    await script.until(lambda: bool(script.sent("ack")))
    assert script.sent("ack") == [{"type": "ack", "epoch": "e1", "offset": 105}]


async def test_close_codes_mean_what_the_server_means(script: Script) -> None:
    codes = [*CloseCode, *range(1000, 1016), 3000, 3999, 4000, 4499, 4500, 4999]
    verdicts = await script.page.evaluate(
        """async (codes) => { const { shouldReconnect } = await import("/gateway.js");
          return codes.map(shouldReconnect); }""",
        [int(code) for code in codes],
    )
    assert verdicts == [should_reconnect(code) for code in codes]


async def test_refused_it_stays_away_until_it_is_asked(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.close(4503)
    status = await script.becomes("closed")
    assert (status["code"], status["reason"]) == (4503, "test")
    await script.page.clock.fast_forward(120_000)
    assert len(script.sockets) == 1
    await script.page.evaluate("gateway.connect()")
    await script.becomes("online")


async def test_an_expired_token_means_a_new_one_at_once(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.clock.fast_forward(6000)  # a connection that has lived
    await script.close(4003)
    status = await script.becomes("offline")
    assert status["retryAt"] == await script.page.evaluate("Date.now()")
    await script.page.clock.run_for(1)
    await script.becomes("online")
    assert await script.page.evaluate("window.tokens") == 2


async def test_a_planned_close_names_the_pause(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    script.say(type="closing", code=4000, reconnect_after=42)
    await script.close(4000)
    status = await script.becomes("offline")
    assert status["retryAt"] - await script.page.evaluate("Date.now()") == 42_000


async def test_pauses_grow_and_are_bounded(script: Script) -> None:
    await script.page.evaluate("Math.random = () => 1")
    script.welcome = None
    await script.connect()
    pauses = []
    for attempt in range(1, 10):
        await script.until(lambda attempt=attempt: len(script.sockets) == attempt)  # type: ignore[misc]
        await script.close(1012)
        status = await script.becomes("offline")
        pauses.append(round((status["retryAt"] - await script.page.evaluate("Date.now()")) / 500))
        await script.page.evaluate("gateway.connect()")
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_silent_server_is_left(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.clock.fast_forward((HEARTBEAT + 5) * 1000)
    assert (await script.becomes("online"))["state"] == "online"
    script.say(type="ping")
    await script.until(lambda: bool(script.sent("pong")))
    await script.page.clock.fast_forward((HEARTBEAT + 11) * 1000)
    status = (await script.heard("status"))[-1]
    assert (status["state"], status["reason"]) == ("offline", "silent")


async def test_a_socket_that_never_welcomes_is_left(script: Script) -> None:
    script.welcome = None
    await script.connect()
    await script.until(lambda: len(script.sockets) == 1)
    await script.page.clock.fast_forward(16_000)
    await script.becomes("offline")


async def test_a_token_that_cannot_be_had_is_tried_again(script: Script) -> None:
    await script.connect(
        "getToken: async () => { if (++window.tokens < 3) throw new Error('no'); }"
    )
    for _ in range(2):
        status = await script.becomes("offline")
        assert "no token" in status["reason"]
        await script.page.evaluate("gateway.connect()")
    await script.becomes("online")


@pytest.mark.parametrize(
    ("url", "token", "code", "told"),
    [
        (SOCKET, "se cret", 4501, "token"),
        (SOCKET, "se\u00e9cret", 4501, "token"),
        ("nowhere", "secret", 4500, "address"),
        ("ftp://sdk.test/", "secret", 4500, "address"),
    ],
)
async def test_what_cannot_be_tried_is_not_tried_again(
    browser: Browser, url: str, token: str, code: int, told: str
) -> None:
    """Of the browser's own WebSocket, which takes less than Playwright's does."""
    page = await browser.new_page()
    await page.clock.install(time=0)
    await page.route("**/*", serve)
    await page.goto(PAGE)
    script = Script(page)
    await script.connect(f"getToken: async () => (++window.tokens, {token!r})", url)
    status = await script.becomes("closed")
    assert status["code"] == code and told in status["reason"]
    assert "cret" not in status["reason"]
    await script.page.clock.fast_forward(120_000)
    assert await script.page.evaluate("window.tokens") == 1
    assert [status["state"] for status in await script.heard("status")] == ["closed"]
    await script.page.evaluate("gateway.connect()")  # whoever has mended it may ask again
    await script.page.wait_for_function("window.tokens === 2")
    await script.becomes("closed")


async def test_send_is_answered_by_ref(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate(
        """() => { window.answers = {};
          for (const name of ["good", "bad", "lost"])
            gateway.send(name, { a: 1 }).then((reply) => { answers[name] = reply.id; },
                                              (error) => { answers[name] = error.code; }); }"""
    )
    await script.until(lambda: len(script.sent("send")) == 3)
    good, bad, _ = script.sent("send")
    assert (good["event"], good["data"]) == ("good", {"a": 1})
    error = {"code": "too_large", "message": "too large"}
    script.say(type="reply", ref=bad["ref"], ok=False, error=error)
    script.say(type="reply", ref=good["ref"], ok=True, id="m1")
    await script.page.wait_for_function("Object.keys(answers).length === 2")
    await script.close(1012)
    await script.page.wait_for_function("Object.keys(answers).length === 3")
    assert await script.page.evaluate("answers") == {
        "good": "m1", "bad": "too_large", "lost": "disconnected"
    }  # fmt: skip
    assert await script.page.evaluate("gateway.send('x').catch((error) => error.code)") == "offline"


async def test_close_is_final(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate("gateway.close()")
    assert (await script.becomes("closed"))["code"] == 1000
    await script.page.clock.fast_forward(120_000)
    assert len(script.sockets) == 1


async def test_a_status_handler_may_close(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate(
        "() => { gateway.on('status', ({ state }) => state === 'offline' && gateway.close()); }"
    )
    await script.close(1012)
    await script.becomes("closed")
    await script.page.clock.fast_forward(120_000)
    assert len(script.sockets) == 1


async def test_closed_while_the_token_was_on_its_way(script: Script) -> None:
    await script.connect("getToken: () => new Promise((resolve) => { window.give = resolve; })")
    await script.page.evaluate("() => { gateway.close(); give('late'); }")
    await script.page.clock.run_for(1000)
    assert (await script.becomes("closed"))["code"] == 1000
    assert script.sockets == []


async def test_connecting_by_hand_replaces_the_planned_attempt(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.close(1012)
    await script.becomes("offline")
    await script.page.evaluate("gateway.connect()")
    await script.becomes("online")
    await script.page.clock.run_for(2000)
    assert len(script.sockets) == 2


async def test_a_network_that_comes_back_is_used_at_once(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    script.say(type="closing", code=4000, reconnect_after=3600)
    await script.close(4000)
    await script.becomes("offline")
    await script.page.evaluate("dispatchEvent(new Event('online'))")
    await script.becomes("online")


async def test_a_line_that_died_with_the_network_is_found_out_soon(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate("dispatchEvent(new Event('online'))")
    await script.until(lambda: bool(script.sent("ack")))  # the probe, never answered
    await script.page.clock.fast_forward(4100)
    assert (await script.heard("status"))[-1]["reason"] == "network changed"


async def test_ulids_are_ulids(script: Script) -> None:
    made = await script.page.evaluate(
        """async () => { const { ulid } = await import("/gateway.js");
          return [ulid(0), ulid(1469918176385)]; }"""
    )
    assert made[0].startswith("0000000000")
    assert made[1].startswith("01ARYZ6S41"), "the example of the ULID specification"
    assert all(set(one) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for one in made)
