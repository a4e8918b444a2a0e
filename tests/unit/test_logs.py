"""What a log line may hold: no key, nothing that steers a terminal, and it has an end."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from sockets import logs
from sockets.logs import MAX_TEXT, audit_to_stderr, configure, logging_config

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


def test_it_needs_no_packages_of_a_server_until_it_is_asked() -> None:
    """Rule 17: in settings, before Django is set up, where structlog is not installed."""
    code = (
        "import sys; sys.modules['structlog'] = None\n"
        "from sockets.logs import LEVELS, audit_to_stderr, logging_config\n"
        "print([name for name in ('prometheus_client', 'twisted') if name in sys.modules])\n"
        "try: logging_config(LEVELS['info'], json=False)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    loaded, told = done.stdout.splitlines()
    assert loaded == "[]"
    assert told.startswith(ImproperlyConfigured.__name__) and "[server]" in told


class TestWhereNobodyHandlesTheAuditLog:
    @pytest.fixture(autouse=True)
    def as_django_leaves_it(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A root that lets warnings through."""
        root, audit = logging.getLogger(), logging.getLogger("gateway.audit")
        kept = root.level, audit.level
        monkeypatch.setattr(audit, "handlers", [])
        root.setLevel(logging.WARNING)
        audit.setLevel(logging.NOTSET)
        yield
        root.setLevel(kept[0])
        audit.setLevel(kept[1])

    @pytest.fixture
    def part(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Part it from the root, where pytest has handlers while a test runs. Called in the test:
        before it, pytest would give handlers to a logger that is parted."""
        gateway = logging.getLogger("gateway")
        return lambda: monkeypatch.setattr(gateway, "propagate", False)

    def record(self) -> None:
        more = {"reason": "no \x1b[2J key", "given": KEY}
        logging.getLogger("gateway.audit").info("refused", extra={"audit": more})

    @pytest.mark.parametrize("as_json", [False, True])
    def test_it_goes_to_stderr(
        self, as_json: bool, part: Callable[[], None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Rule 17: in the form of the documents, with nothing in it that no line may hold."""
        part()
        assert audit_to_stderr(json=as_json)
        self.record()
        [line] = capsys.readouterr().err.splitlines()
        assert "refused" in line and "gw_abcdefgh[redacted]" in line
        assert "xxx" not in line and "\x1b" not in line
        if as_json:
            read = json.loads(line)
            assert (read["logger"], read["level"]) == ("gateway.audit", "info")
            assert set(read["audit"]) == {"reason", "given"}

    def test_it_is_added_once(
        self, part: Callable[[], None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Rule 17."""
        part()
        assert [audit_to_stderr(json=True) for _ in range(3)] == [True, False, False]
        self.record()
        assert len(capsys.readouterr().err.splitlines()) == 1

    @pytest.mark.parametrize("name", ["gateway.audit", "gateway", ""])
    def test_nothing_is_added_where_it_is_handled(
        self,
        name: str,
        part: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Rule 17: by itself or by root; a level that a project chose stays."""
        if name:  # else by the root's, which are pytest's
            part()
            monkeypatch.setattr(logging.getLogger(name), "handlers", [logging.NullHandler()])
        assert not audit_to_stderr(json=True)
        self.record()
        audit = logging.getLogger("gateway.audit")
        assert capsys.readouterr().err == "" and audit.level == logging.NOTSET

    def test_a_level_of_its_own_stays(
        self, part: Callable[[], None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        part()
        logging.getLogger("gateway.audit").setLevel(logging.ERROR)
        assert audit_to_stderr(json=True)
        self.record()
        assert capsys.readouterr().err == ""

    def test_nothing_is_added_beside_our_own_configuration(self) -> None:
        """Rule 17."""
        from django.conf import settings

        configure(logging_config(logging.INFO, json=True))
        try:
            assert not audit_to_stderr(json=True)
        finally:
            configure(settings.LOGGING)
