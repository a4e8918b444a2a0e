"""How the process logs: every record through structlog, for people or as JSON lines, on stderr.

Levels have Python's names and those usual among Node services. Tokens that slip into a line (a
URL's query, a subprotocol, a header) are blotted out here, whoever logged them.
"""

from __future__ import annotations

import logging
import logging.config
import re
from typing import Any

import structlog
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
_TOKEN = re.compile(r"(?i)((?:[?&](?:access_)?token=)|gateway\.bearer\.|\bbearer\s+)[^\s&\"',;\\]+")


def redact(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    """Blot out tokens in a line that is ready to be written: whatever object they came in."""
    return _TOKEN.sub(r"\1[redacted]", str(line))


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def logging_config(level: int, *, json: bool) -> dict[str, Any]:
    """Django's LOGGING: one handler, one format, `level` for all that is not named."""
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
        renderer,
        redact,
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": render,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
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
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
