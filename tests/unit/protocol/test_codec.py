"""What a peer may write, what it is told when it writes something else, and `data` as it came."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from sockets.codes import ErrorCode
from sockets.exceptions import BadFrame
from sockets.protocol import codec
from sockets.protocol import messages as m
from sockets.protocol.codec import (
    decode_client,
    decode_worker,
    encode,
    from_json,
    message_frame,
    to_json,
)

CLIENT_FRAMES: list[tuple[str, type, dict[str, Any]]] = [
    ('{"type":"pong"}', m.Pong, {}),
    ('{"type":"ack","epoch":"e","offset":0}', m.Ack, {"epoch": "e", "offset": 0, "ref": UNSET}),
    ('{"type":"ack","epoch":"e","offset":7,"ref":"r"}', m.Ack, {"offset": 7, "ref": "r"}),
    ('{"type":"send","event":"e"}', m.Send, {"event": "e", "data": b"null", "ref": UNSET}),
    ('{"type":"send","event":"e","data":[1, 2],"ref":5}', m.Send, {"data": b"[1, 2]", "ref": 5}),
    ('{"type":"refresh","token":"t","ref":1}', m.Refresh, {"token": "t", "ref": 1}),
    ('{"type":"connect","token":"t"}', m.Connect, {"token": "t", "ref": UNSET}),
    ('{"type":"sessions","ref":""}', m.ListSessions, {"ref": ""}),
    ('{"ref":"r","later":[{}],"type":"sessions"}', m.ListSessions, {"ref": "r"}),
    (' \n{"type" : "pong" }\t', m.Pong, {}),
]

WORKER_FRAMES: list[tuple[str, type, dict[str, Any]]] = [
    ('{"type":"pong","more":1}', m.Pong, {}),
    (
        '{"type":"notify","user":"u","event":"e"}',
        m.Notify,
        {
            "data": b"null",
            "durable": True,
            "collapse_key": None,
            "ttl": None,
            "idempotency_key": None,
            "ref": UNSET,
        },
    ),
    (
        '{"type":"notify","user":"u","event":"e","data":{},"durable":false,"collapse_key":"c",'
        '"ttl":1.5,"idempotency_key":"i","ref":"r"}',
        m.Notify,
        {
            "user": "u",
            "data": b"{}",
            "durable": False,
            "collapse_key": "c",
            "ttl": 1.5,
            "idempotency_key": "i",
            "ref": "r",
        },
    ),
    ('{"type":"notify","user":"u","event":"e","ttl":3}', m.Notify, {"ttl": 3.0}),
    ('{"type":"attach","user":"u","ref":1}', m.Attach, {"user": "u", "ref": 1}),
    ('{"type":"detach","user":"u"}', m.Detach, {"user": "u"}),
    ('{"type":"presence","user":"한/@","ref":1}', m.Presence, {"user": "한/@"}),
    (
        '{"type":"accept","task":"t","offer":"o","ref":1}',
        m.Accept,
        {"task": "t", "offer": "o", "ref": 1},
    ),
    ('{"type":"reject","task":"t","offer":"o"}', m.Reject, {"task": "t", "offer": "o"}),
    ('{"type":"progress","task":"t"}', m.Progress, {"data": UNSET, "ref": UNSET}),
    ('{"type":"progress","task":"t","data":{"n": 1.50}}', m.Progress, {"data": b'{"n": 1.50}'}),
    ('{"type":"done","task":"t","ref":""}', m.Done, {"data": b"null", "ref": ""}),
    ('{"type":"done","task":"t","data":[1]}', m.Done, {"task": "t", "data": b"[1]"}),
    ('{"type":"failed","task":"t","error":"왜"}', m.Failed, {"task": "t", "error": "왜"}),
    ('{"type":"failed","task":"t"}', m.Failed, {"error": "", "ref": UNSET}),
    ('{"type":"release","task":"t","error":"x"}', m.Release, {"task": "t", "error": "x"}),
    ('{"type":"release","task":"t"}', m.Release, {"error": ""}),
]


def assert_is(message: object, kind: type, members: dict[str, Any]) -> None:
    assert type(message) is kind
    for name, value in members.items():
        got = getattr(message, name)
        assert (bytes(got) if isinstance(got, msgspec.Raw) else got) == value, name


@pytest.mark.parametrize(("text", "kind", "members"), CLIENT_FRAMES, ids=lambda v: str(v)[:40])
def test_what_a_client_may_write(text: str, kind: type, members: dict[str, Any]) -> None:
    assert_is(decode_client(text), kind, members)


@pytest.mark.parametrize(("text", "kind", "members"), WORKER_FRAMES, ids=lambda v: str(v)[:40])
def test_what_a_worker_may_write(text: str, kind: type, members: dict[str, Any]) -> None:
    assert_is(decode_worker(text), kind, members)


def test_the_tables_above_have_every_type() -> None:
    from typing import get_args

    assert {kind for _, kind, _ in CLIENT_FRAMES} == set(get_args(m.ClientMessage))
    assert {kind for _, kind, _ in WORKER_FRAMES} == set(get_args(m.WorkerMessage))


J, M, U = ErrorCode.BAD_JSON, ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("text", "code", "ref"),
    [
        ("", J, None),
        (" ", J, None),
        ("pong", J, None),
        ("{", J, None),
        ('{"type":"pong"', J, None),
        ('{"type":"pong"} {}', J, None),
        ('{"type":"send","event":"e","data":01}', J, None),
        ('{"type":"send","event":"e","data":"a\nb"}', J, None),
        ('{"type":"send","event":"e","data":"\\x"}', J, None),
        ('{"type":"send","event":"e","data":NaN}', J, None),
        ('{"type":"send","event":"e","data":[1,]}', J, None),
        ('{"type":"send","event":"\ud800"}', M, None),
        ('{"type":"send","event":"e","data":"party \\ud83c","ref":7}', M, 7),
        ('{"type":"send","event":"e","data":"party \ud83c","ref":7}', M, 7),
        ('{"ref":7,"type":"send","event":"e","data":{"ref":"no","t":"\\udf89"}}', M, 7),
        ('{"type":"send","event":"\\ud83c","data":[{"ref":1}]}', M, None),
        ('{"ref":1,"type":"send","event":"\\ud83c","ref":"last"}', M, "last"),
        ('{"ref":"a","type":"send","event":"\\ud83c","ref":[1]}', M, None),
        ('{"ref":1.5,"type":"send","event":"e","ref":"last"}', M, "last"),
        ('{"\\u0072ef":9,"type":"send","event":"\\ud83c"}', M, 9),
        ('{"ref":"half \\ud83c","type":"send","event":"e"}', M, None),
        ('{"type":5,"ref":"r"}', M, "r"),
        ('{"type":"what","data":"\\ud83c","ref":"r"}', U, "r"),
        ('{"type":"send","event":"e","data":1e999,"ref":"r"}', M, "r"),
        ('{"type":"send","event":"e","data":[{"a":-1e400}],"ref":"r"}', M, "r"),
        ('{"type":"send","event":"e","data":' + "9" * 400 + ',"ref":"r"}', M, "r"),
        ('{"type":"send","event":"e","data":' + "9" * 5_000 + ',"ref":"r"}', M, "r"),
        ('{"type":"send","event":"e","ref":"r","data":"\\ud83c"', J, None),
        ('{"a":' * 20_000, J, None),
        ("[" * 20_000, M, None),
        ('{"type":"send","ref":1,"data":' + "[" * 20_000 + "]" * 20_000 + "}", M, 1),
        ('{"data":' + '[{"ref":' * 9_000 + "0" + "}]" * 9_000 + ',"ref":1,"type":"send"}', M, 1),
        ('{"type":"send","ref":1,"data":' + "[" * 20_000 + "]" * 19_999 + "}", J, None),
        ("null", M, None),
        ("5", M, None),
        ("[]", M, None),
        ('"pong"', M, None),
        ("{}", M, None),
        ('{"type":5}', M, None),
        ('{"type":null}', M, None),
        ('{"ref":"r"}', M, "r"),
        ('{"ref":9}', M, 9),
        ('{"type":"","ref":9}', M, 9),
        ('{"type":"ack","ref":"r"}', M, "r"),
        ('{"type":"ack","epoch":"e","offset":-1,"ref":"r"}', M, "r"),
        ('{"type":"ack","epoch":"e","offset":1.5,"ref":"r"}', M, "r"),
        ('{"type":"ack","epoch":"e","offset":"1","ref":"r"}', M, "r"),
        ('{"type":"ack","epoch":"e","offset":true,"ref":"r"}', M, "r"),
        ('{"type":"ack","epoch":"' + "e" * 65 + '","offset":1,"ref":"r"}', M, "r"),
        ('{"type":"ack","epoch":"e","offset":1,"ref":1.5}', M, None),
        ('{"type":"ack","epoch":"e","offset":1,"ref":{}}', M, None),
        ('{"type":"ack","epoch":"e","offset":1,"ref":"' + "r" * 129 + '"}', M, None),
        ('{"type":"send","event":"","ref":"r"}', M, "r"),
        ('{"type":"send","event":"' + "e" * 256 + '","ref":"r"}', M, "r"),
        ('{"type":"refresh","token":"' + "t" * 16_385 + '","ref":"r"}', M, "r"),
        ('{"type":"Pong","ref":"r"}', U, "r"),
        ('{"type":"notify","user":"u","event":"e","ref":4}', U, 4),
        ('{"type":"welcome"}', U, None),
        ('{"type":"' + "x" * 9_000 + '"}', U, None),
    ],
    ids=lambda v: str(v)[:48].encode("ascii", "backslashreplace").decode(),
)
def test_what_a_client_is_told_about_a_bad_frame(
    text: str, code: ErrorCode, ref: str | int | None
) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_client(text)
    assert (caught.value.code, caught.value.ref) == (code, ref)
    assert len(str(caught.value)) < 400, "a peer cannot make us repeat a long text"


@pytest.mark.parametrize(
    ("text", "code", "ref"),
    [
        ('{"type":"notify","event":"e","ref":1}', M, 1),
        ('{"type":"notify","user":"","event":"e","ref":1}', M, 1),
        ('{"type":"notify","user":"' + "u" * 1_025 + '","event":"e","ref":1}', M, 1),
        ('{"type":"notify","user":5.0,"event":"e","ref":1}', M, 1),
        ('{"type":"notify","user":1e2,"event":"e","ref":1}', M, 1),
        ('{"type":"notify","user":true,"event":"e","ref":1}', M, 1),
        ('{"type":"notify","user":"u","event":"e","ttl":0,"ref":1}', M, 1),
        ('{"type":"notify","user":"u","event":"e","ttl":-5,"ref":1}', M, 1),
        ('{"type":"notify","user":"u","event":"e","durable":"yes","ref":1}', M, 1),
        ('{"type":"notify","user":"u","event":"e","collapse_key":"","ref":1}', M, 1),
        ('{"type":"attach","user":null,"ref":1}', M, 1),
        ('{"type":"send","event":"e","ref":1}', U, 1),
        ('{"type":"accept","task":"t","ref":1}', M, 1),
        ('{"type":"accept","offer":"o","ref":1}', M, 1),
        ('{"type":"accept","task":"","offer":"o","ref":1}', M, 1),
        ('{"type":"accept","task":"t","offer":"","ref":1}', M, 1),
        ('{"type":"accept","task":"' + "t" * 65 + '","offer":"o","ref":1}', M, 1),
        ('{"type":"reject","task":"t","offer":7,"ref":1}', M, 1),
        ('{"type":"progress","task":null,"ref":1}', M, 1),
        ('{"type":"done","task":["t"],"ref":1}', M, 1),
        ('{"type":"failed","task":"t","error":null,"ref":1}', M, 1),
        ('{"type":"failed","task":"t","error":"' + "x" * 1_001 + '","ref":1}', M, 1),
        ('{"type":"release","task":"t","error":{},"ref":1}', M, 1),
        ('{"type":"task","task":"t","ref":1}', U, 1),
        ('{"type":"task.cancel","task":"t","ref":1}', U, 1),
    ],
    ids=lambda v: str(v)[:48],
)
def test_what_a_worker_is_told_about_a_bad_frame(text: str, code: ErrorCode, ref: int) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_worker(text)
    assert (caught.value.code, caught.value.ref) == (code, ref)


def test_an_unknown_type_is_told_the_known_ones() -> None:
    with pytest.raises(BadFrame, match=r"'subscribe'; known: ack, connect, pong, refresh, "):
        decode_client('{"type":"subscribe"}')


@given(st.text(max_size=200))
def test_no_text_escapes_as_another_error(text: str) -> None:
    for decode in (decode_client, decode_worker):
        try:
            decode(text)
        except BadFrame:
            continue


# --- data as it came

JSON_TEXTS = [
    "null",
    "0",
    "-0",
    "1.10",
    "1e308",
    '"1e999"',
    "1E+2",
    "123456789012345678901234567890",
    "9007199254740993",
    "0.1000000000000000055511151231257827",
    '"한국어 🙂 \\u00e9 \\n \\u2028"',
    '"\u2028</script>"',
    '{"a": {"b": [[], {}, "", null]} , "a":2}',
]


@pytest.mark.parametrize("text", JSON_TEXTS, ids=ascii)
def test_a_peers_data_is_passed_on_byte_for_byte(text: str) -> None:
    sent = decode_client(f'{{"type":"send","event":"e","data":{text}}}')
    assert isinstance(sent, m.Send)
    passed = encode(m.FromClient("u", "c", sent.event, sent.data)).text
    assert passed == f'{{"type":"message","user":"u","client":"c","event":"e","data":{text}}}'
    noted = decode_worker(f'{{"type":"notify","user":"u","event":"e","data":{text}}}')
    assert isinstance(noted, m.Notify)
    body = to_json(m.Body("i", "e", noted.data, 1.5))
    assert body == f'{{"id":"i","event":"e","data":{text},"time":1.5}}'.encode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("text", JSON_TEXTS, ids=ascii)
def test_a_peers_data_can_be_read(text: str) -> None:
    assert from_json(text.encode()) == json.loads(text)
    assert from_json(msgspec.Raw(text.encode())) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1e999", M),
        ("[" + "9" * 400 + "]", M),
        ('"\\ud800"', M),
        ("", J),
        ("{", J),
        ("[" * 20_000 + "]" * 20_000, M),
    ],
    ids=lambda v: v[:8],
)
def test_a_peers_data_that_has_no_value_is_its_fault(text: str, code: ErrorCode) -> None:
    with pytest.raises(BadFrame, match="data cannot be read") as caught:
        from_json(msgspec.Raw(text.encode()))
    assert caught.value.code == code


@given(json_values)
def test_data_of_python_code_survives(data: Any) -> None:
    frame = message_frame(to_json(m.Body("i", "e", data, 1.5)), offset=7)
    assert json.loads(frame.text)["data"] == data


@pytest.mark.parametrize("data", [object(), {"x": {1, object()}}, "\ud800", {"\udfff": 1}])
def test_data_without_a_json_form_is_refused(data: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_json(m.Body("i", "e", data, 1.5))


def test_data_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        to_json(m.Body("i", "e", loop, 1.5))


# --- message frames

BODY = b'{"id":"i","event":"e","data":null,"time":1.5}'


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {}),
        ({"offset": 0}, {"offset": 0}),
        ({"offset": 9}, {"offset": 9}),
        ({"offset": 9, "prev": 0}, {"offset": 9, "prev": 0}),
        ({"offset": 9, "prev": 4, "missed": 2}, {"offset": 9, "prev": 4, "missed": 2}),
        ({"missed": 3}, {"missed": 3}),
        ({"missed": 0}, {}),
        ({"offset": 10**18}, {"offset": 10**18}),
    ],
)
def test_the_members_that_differ_from_session_to_session(
    members: dict[str, int], expected: dict[str, int]
) -> None:
    frame = json.loads(message_frame(BODY, **members).payload)
    assert frame == {"type": "message", **expected, **json.loads(BODY)}
    assert next(iter(frame)) == "type", "protocol.md: `type` first"


# --- our own frames: as protocol.md writes them, member by member


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            m.Welcome("s", "u", "c", "n", "e", 4, None, 25.0, m.Limits(1, 2)),
            '{"type":"welcome","session":"s","user":"u","client":"c","node":"n","epoch":"e",'
            '"offset":4,"recovered":null,"heartbeat":25.0,"limits":{"frame":1,"message":2}}',
        ),
        (
            m.Welcome("s", "u", "c", "n", "e", 4, True, 0.0, m.Limits(1, 2), 59.5),
            '{"type":"welcome","session":"s","user":"u","client":"c","node":"n","epoch":"e",'
            '"offset":4,"recovered":true,"heartbeat":0.0,"limits":{"frame":1,"message":2},'
            '"expires_in":59.5}',
        ),
        (
            m.Reply(True, "r", expires_in=0.0),
            '{"type":"reply","ok":true,"ref":"r","expires_in":0.0}',
        ),
        (
            m.WorkerWelcome("s", "w", ["p"], "n", 0, m.Limits(1, 2), []),
            '{"type":"welcome","session":"s","worker":"w","pools":["p"],"node":"n",'
            '"heartbeat":0.0,"limits":{"frame":1,"message":2},"tasks":[],"quiet":true}',
        ),
        (m.PositionMoved(3), '{"type":"position","offset":3}'),
        (m.Reset("e", 3), '{"type":"reset","epoch":"e","offset":3}'),
        (m.Ping(), '{"type":"ping"}'),
        (m.Ping(2), '{"type":"ping","missed":2}'),
        (m.Reply(True), '{"type":"reply","ok":true}'),
        (m.Reply(True, 0), '{"type":"reply","ok":true,"ref":0}'),
        (
            m.Reply(True, "r", id="i", epoch="e", offset=0, duplicate=True),
            '{"type":"reply","ok":true,"ref":"r","id":"i","epoch":"e","offset":0,"duplicate":true}',
        ),
        (
            m.Reply(True, "r", online=False, sessions=[]),
            '{"type":"reply","ok":true,"ref":"r","online":false,"sessions":[]}',
        ),
        (
            m.Reply(False, "r", m.Error("c", "m")),
            '{"type":"reply","ok":false,"ref":"r","error":{"code":"c","message":"m"}}',
        ),
        (
            m.OfferedTask("t", "o", "p", None, "e", msgspec.Raw(b'{"n": 1}'), 1.5),
            '{"type":"task","task":"t","offer":"o","pool":"p","user":null,"event":"e",'
            '"data":{"n": 1},"timeout":1.5}',
        ),
        (
            m.TaskCancel("t", "cancelled"),
            '{"type":"task.cancel","task":"t","reason":"cancelled"}',
        ),
        (m.Closing(1012, 0.5), '{"type":"closing","code":1012,"reconnect_after":0.5}'),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, msgspec.Struct) else "",
)
def test_our_frames_are_what_the_protocol_says(message: msgspec.Struct, text: str) -> None:
    assert json.loads(encode(message).text) == json.loads(text)
    assert encode(message).text.startswith('{"type":"')


@pytest.mark.parametrize(
    "data",
    [
        b'{"hash":"4e1234"}',
        b'["' + b"9" * 500 + b'"]',
        b'{"a":12e3,"b":"1e999"}',
        b"[" + b",".join([b"123456789.25"] * 100) + b"]",
    ],
)
def test_what_only_looks_like_a_large_number_is_told_by_one_look(data: bytes) -> None:
    """Else a message of hashes would be read number by number on the loop."""
    assert codec._DOUBTFUL.search(data) is None
    assert codec.infinite_in(data) == ""


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1.5E+400", "9" * 400, "-" + "9" * 400, "0." + "9" * 300 + "e999"]
)
@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"a":{}}}', "[1,{}]", "[ {}]", '{{"a": {}}}'])
def test_a_large_number_is_found_wherever_it_stands(number: str, around: str) -> None:
    assert "infinite" in codec.infinite_in(around.format(number).encode())
