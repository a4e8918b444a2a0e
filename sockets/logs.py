"""How a process logs: every record through structlog, for people or as JSON lines, on stderr.

This project's settings use it; another's may (docs/audit-log.md). The packages of a server have
structlog, and it is imported where a configuration is asked for: a plain installation has none.

Levels have Python's names and those usual among Node services. Tokens and keys that slip into a
line (a URL's query, a subprotocol, a header) are blotted out here, whoever logged them, and nothing
that a stranger chose steers a terminal, begins a line of its own or makes one endless.
"""

from __future__ import annotations

import logging
import logging.config
import os
import re
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from sockets.base.extras import server_lacking

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {
    "silly": logging.DEBUG,
    "trace": logging.DEBUG,
    "verbose": logging.DEBUG,
    "debug": logging.DEBUG,
    "http": logging.INFO,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "silent": logging.CRITICAL + 10,
}
MAX_TEXT = 4_096
"""Characters of a message; what is more is cut out of its middle."""

_TOKEN = re.compile(r"(?i)((?:[?&](?:access_)?token=)|gateway\.bearer\.|\bbearer\s+)[^\s&\"',;\\]+")
_KEY = re.compile(r"\bgw_(?:([a-z2-7]{8})_)?[A-Za-z0-9_-]{16,}")
_HEADER = re.compile(
    r"(?i)(authorization(?:['\"]\s*,|['\"]?\s*[:=])\s*(?:b(?=['\"]))?['\"]?)"
    r"(?!\s|bearer\s)(?:\\.|[^\s\"',}\\])+(?:\s+(?:\\.|[^\s\"',}:=\\])+)?"
)
# All of them, up to the end of the text that they are in. What is escaped is one: half of it would
# spoil a line of JSON.
_COOKIES = re.compile(
    r"(?i)(\bcookie(?:['\"]\s*,|['\"]?\s*[:=])\s*(?:b(?=['\"]))?['\"]?)"
    r"(?![\s,{}\[\]])(?:\\.|[^'\"\n\\])+"
)
# Control characters, what turns the direction of writing, and ends of lines that are no newline.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def redact(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    """Blot out tokens and keys in a line that is ready to be written: whatever object they came
    in."""
    text = _TOKEN.sub(r"\1[redacted]", str(line))
    text = _KEY.sub(lambda found: f"gw_{found[1] or ''}[redacted]", text)
    text = _HEADER.sub(r"\1[redacted]", _COOKIES.sub(r"\1[redacted]", text))
    return _STEERING.sub(_escaped, text)


def bounded(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What follows a newline is indented, so that it is never taken for a line of ours; messages
    and what Django puts beside them have an end."""
    event["event"] = _indented(_cut(str(event.get("event", ""))))
    if "exception" in event:
        event["exception"] = _indented(str(event["exception"]))
    if "request" in event:
        event["request"] = _cut(repr(event["request"]))
    return event


def _cut(text: str) -> str:
    half = MAX_TEXT // 2
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"  # as JSON has it


def _shared() -> list[Processor]:
    """Return what a record passes, whoever logged it, before it is rendered."""
    import structlog

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _line(*, json: bool) -> dict[str, Any]:
    """Return the formatter, as `logging.config` has it: what it makes it of is under "()"."""
    try:
        import structlog
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(server_lacking("sockets.logs", error)) from error

    # Tracebacks as text: structured ones carry the frames' locals, and those hold secrets.
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if json
        else structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    render: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        bounded,
        renderer,
        redact,
    ]
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": _shared(),
        "processors": render,
    }


def logging_config(level: int, *, json: bool) -> dict[str, Any]:
    """Return Django's LOGGING: one handler, one format, `level` for all that is not named.

    `level`: a number, as `LEVELS` has them by name. `json`: a JSON object a line, for programs;
    else a line for people. Raises ImproperlyConfigured, with the remedy, where structlog is not
    installed.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": _line(json=json)},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handler would write each line once more, and as it came.
            "django": {"handlers": []},
            "django.server": {"handlers": [], "propagate": True},
            # A stranger's wrong address is no news: without this, each scan fills the log.
            "django.request": {"level": max(level, logging.ERROR)},
            "django.security.DisallowedHost": {"level": max(level, logging.CRITICAL)},
            # These write a line per message or frame.
            "asyncio": {"level": max(level, logging.INFO)},
            "httpx": {"level": max(level, logging.WARNING)},
            "httpcore": {"level": max(level, logging.WARNING)},
            # Who was refused and what an operator did is no matter of verbosity.
            "gateway.audit": {"level": level if level > logging.CRITICAL else logging.INFO},
            # The gateway prints its own addresses.
            "daphne": {"level": max(level, logging.WARNING)},
            "django.channels.server": {"level": max(level, logging.WARNING)},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: set up the standard library and structlog alike."""
    import structlog

    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def audit_to_stderr(*, json: bool) -> bool:
    """Write the audit log to stderr where no handler takes it, as `logging_config` would, and
    return whether that was so.

    A handler of the logger `gateway.audit`, of `gateway` or of the root takes it, `NullHandler`
    too: who wants no audit log names that one.
    """
    logger = logging.getLogger("gateway.audit")
    if logger.hasHandlers():
        return False
    how = _line(json=json)
    handler = logging.StreamHandler()
    handler.setFormatter(how.pop("()")(**how))
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:  # the root's, which lets nothing through below warnings
        logger.setLevel(logging.INFO)
    return True


def _hold() -> None:
    """Before a fork: no thread is in the midst of a line then. The child would inherit the lock of
    the stream that it writes to, and wait for it for ever; logging sees to its own locks only."""
    _held.extend([*logging.getLogger().handlers, *logging.getLogger("gateway.audit").handlers])
    for handler in _held:
        handler.acquire()


def _release() -> None:
    """In the parent; in the child logging makes new locks."""
    while _held:
        _held.pop().release()


_held: list[logging.Handler] = []
os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_held.clear)
