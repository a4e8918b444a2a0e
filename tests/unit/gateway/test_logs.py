"""What a log line may hold: no key, nothing that steers a terminal, and it has an end."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from gateway import logs
from gateway.logs import MAX_TEXT, logging_config

KEY = "gw_abcdefgh_" + "x" * 43


def written(text: object, *arguments: object, as_json: bool = False, **extra: object) -> str:
    """The line of a record, as the handler would write it."""
    config = logging_config(logging.DEBUG, json=as_json)["formatters"]["line"]
    given = dict(config)
    formatter = given.pop("()")(**given)
    record = logging.LogRecord("a", logging.ERROR, "p", 1, text, arguments, None)
    vars(record).update(extra)
    line: str = formatter.format(record)
    return line


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Unexpected auth - '{KEY}'", "xxx"),
        (f"Unexpected auth - 'Basic {KEY}'", "xxx"),
        ("GET /?a=1&token=s3cr3t HTTP/1.1", "s3cr3t"),
        ("GET /?access_token=s3cr3t", "s3cr3t"),
        ("sec-websocket-protocol: gateway.v1, gateway.bearer.s3cr3t", "s3cr3t"),
        ("authorization: Bearer s3cr3t", "s3cr3t"),
        ("Authorization: s3cr3t-of-the-environment", "s3cr3t"),
        ("Authorization: Basic s3cr3t", "s3cr3t"),
        ("{'authorization': 's3cr3t'}", "s3cr3t"),
        ("[(b'authorization', b's3cr3t')]", "s3cr3t"),
        ("Cookie: sessionid=s3cr3t", "s3cr3t"),
        ("{'cookie': 'sessionid=s3cr3t'}", "s3cr3t"),
        ("Cookie: csrftoken=x; sessionid=s3cr3t", "s3cr3t"),
        ("[(b'cookie', b'a=b; c=d; sessionid=s3cr3t')]", "s3cr3t"),
        ('Authorization: Basic a"s3cr3t', "as3cr3t"),
        ('Authorization: a\\"b', "a\\"),
        ('Cookie: a=b"c', "a=b"),
    ],
)
def test_no_secret_is_written(text: str, secret: str, as_json: bool) -> None:
    line = written(text, as_json=as_json)
    assert secret not in line and "[redacted]" in line
    if as_json:
        json.loads(line)


def test_a_line_of_json_stays_one_where_nothing_is_blotted_out() -> None:
    for text in ("Cookie: ", "cookie=", "Authorization: ", "authorization:"):
        assert json.loads(written(text, as_json=True))["event"] == text


def test_which_key_it_was_is_told() -> None:
    assert "gw_abcdefgh[redacted]" in written(KEY)
    assert "authorization is missing" in written("authorization is missing")
    told = "send Authorization: Bearer"
    assert told in written(f"{told} <key>")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "steering", ["\x1b[2J", "\x9b31m", "\r", "\x00", "\x07", "\u202e", "\u2028", "\u2066"]
)
def test_nothing_steers_a_terminal(steering: str, as_json: bool) -> None:
    for line in (
        written(f"user {steering} evil", as_json=as_json),
        written("user %s evil", steering, as_json=as_json),
        written("user", as_json=as_json, extra_of_it=f"{steering} evil"),
    ):
        assert steering not in line and "evil" in line
        if as_json:
            json.loads(line)


def test_a_line_of_a_stranger_is_none_of_ours() -> None:
    lines = written("no such user: 42\n2026-01-01 [info] all is well").splitlines()
    assert len(lines) == 2 and lines[1].startswith("    ")


def test_a_message_has_an_end() -> None:
    line = written("begin " + "x" * 100_000 + " end")
    assert len(line) < MAX_TEXT + 200 and "begin" in line and "end" in line


def test_django_writes_no_line_of_its_own() -> None:
    """Its handler of DEBUG would write each line once more, and as it came."""
    loggers = logging_config(logging.INFO, json=False)["loggers"]
    assert loggers["django"]["handlers"] == [] and loggers["django.server"]["handlers"] == []


def test_no_thread_is_in_the_midst_of_a_line_when_a_process_forks() -> None:
    """The child would inherit the lock of the stream, and wait for it for ever."""
    (handler, *_) = logging.getLogger().handlers or [logging.NullHandler()]
    logging.getLogger().addHandler(handler)
    done = threading.Event()

    def fork() -> None:
        logs._hold()
        done.set()
        logs._release()

    with handler.lock or threading.RLock():
        forking = threading.Thread(target=fork)
        forking.start()
        assert not done.wait(0.2)
    forking.join(5)
    assert done.is_set() and logs._held == []
