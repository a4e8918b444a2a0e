"""The Python API over the gateway's private port: for processes that have no Redis to share.

A thread has one connection, which is kept; the async faces use threads. Nothing is sent twice: a
call whose connection broke may have been done, and says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import threading
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from sockets.api.calls import Call, result_of, written
from sockets.exceptions import GatewayError, GatewayUnavailable, TooManyRequests

MARGIN: Final = 5.0
"""Seconds that the gateway gets beyond what a call may take there."""

CONNECT_TIMEOUT: Final = 3.0


class OverHttp:
    """One gateway. `url`: where its API begins, as `http://127.0.0.1:4001/api/v1/`; `key`: a secret
    of a key with the scope `call`; `remedy`: what to do when it cannot be reached."""

    def __init__(self, url: str, key: str, remedy: str) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "localhost", parts.port
        self._path = f"{parts.path.rstrip('/')}/call"
        self._key = key
        self._remedy = remedy
        self._mine = threading.local()

    def call(self, call: Call, given: dict[str, Any], id: str) -> Any:
        """Do a call, and return what it returned. Raises what it raised; GatewayUnavailable."""
        body = written(call, given, id)
        patience = call.patience(**given) + MARGIN
        status, headers, answer = self._ask(body, patience, id)
        if status == 200:
            return result_of(call, answer)
        raise _refused(status, headers, answer, id)

    def close(self) -> None:
        """End this thread's connection."""
        line: _Line | None = getattr(self._mine, "line", None)
        if line is not None:
            line.connection.close()
        self._drop()

    async def acall(self, call: Call, given: dict[str, Any], id: str) -> Any:
        """Do as `call`, without stopping the loop."""
        return await asyncio.to_thread(self.call, call, given, id)

    def _ask(self, body: bytes, patience: float, id: str) -> tuple[int, Any, bytes]:
        connection = self._connection(id)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            assert connection.sock is not None
            connection.sock.settimeout(patience)
            connection.request("POST", self._path, body, headers)
            response: HTTPResponse = connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, HTTPException) as error:
            self._drop()
            text = (
                f"the gateway did not answer ({type(error).__name__}: {error})".rstrip(": )") + ")"
            )
            raise GatewayUnavailable(text, outcome="unknown", id=id) from error
        except BaseException:
            self._drop()  # whoever interrupts this leaves an answer on its way
            raise

    def _connection(self, id: str) -> HTTPConnection:
        """Return this thread's connection, one that the gateway has not hung up on."""
        line: _Line | None = getattr(self._mine, "line", None)
        if line is not None and line.lives:
            return line.connection
        self._drop()
        made = (HTTPSConnection if self._tls else HTTPConnection)(
            self._host, self._port, timeout=CONNECT_TIMEOUT
        )
        try:
            made.connect()
        except OSError as error:
            where = f"{self._host}:{made.port}"
            text = f"the gateway at {where} cannot be reached ({error}): {self._remedy}"
            raise GatewayUnavailable(text, id=id) from error
        self._mine.line = _Line(made)
        return made

    def _drop(self) -> None:
        self._mine.line = None


class _Line:
    """A thread's connection, which ends with the thread; of a fork, this process' copy of it."""

    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection
        self._pid = os.getpid()

    @property
    def lives(self) -> bool:
        """Whether it is this process', and nothing has come on it unasked: an end, or the rest of
        something."""
        if self._pid != os.getpid() or self.connection.sock is None:
            return False
        readable, _, _ = select.select([self.connection.sock], [], [], 0)
        return not readable

    def __del__(self) -> None:
        self.connection.close()


def _refused(status: int, headers: Any, answer: bytes, id: str) -> GatewayError:
    """Return the error for an answer that is none of a call's: surely nothing was done."""
    try:
        detail = str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"HTTP {status}"
    if status == 429:
        return TooManyRequests(detail, float(headers.get("Retry-After") or 1))
    if status in (401, 403):
        detail = f"it refuses the key ({detail}): GATEWAY_KEY needs the scope `call`"
    elif status == 404:
        detail = "there is no gateway at that address, or one of an older version"
    return GatewayUnavailable(f"the gateway did nothing: {detail}", id=id)
