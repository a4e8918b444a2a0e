"""HTTP requests to other servers of the platform: bounded in time and size, and never surprised.

No redirects, no cookies kept, no proxies of the environment; the system's certificate authorities.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib import import_module
from typing import Final

import httpx

from sockets import __version__

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""


class FetchFailed(Exception):
    """There was no answer that could be read; the text says why, and holds no secret."""


class NoConnection(FetchFailed):
    """The server could not be reached at all, whatever the question was."""


class NoAnswer(FetchFailed):
    """The server was reached, and did not answer in time; the question may be the cause."""


class HungUp(FetchFailed):
    """The server hung up, or sent what is no HTTP; the question may be the cause."""


class UnreadableAnswer(FetchFailed):
    """The server has answered with more than can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def make_client(
    headers: Mapping[str, str] | None = None, *, connections: int | None = None
) -> httpx.AsyncClient:
    """Make a client for one event loop. `connections`: at once; None: any number."""
    # httpx would do so at its first request, and hold up the loop for longer than some time-outs.
    import_module("anyio._backends._asyncio")
    return httpx.AsyncClient(
        headers={
            "User-Agent": f"gateway/{__version__}",
            "Accept-Encoding": "identity",
            **(headers or {}),
        },
        # No cookies are kept: they would gather without a bound.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        limits=httpx.Limits(max_connections=connections),
        timeout=None,  # httpx has none for a whole request
        trust_env=False,
        verify=_authorities(),
    )


@cache
def _authorities() -> ssl.SSLContext:
    """Return the system's authorities, where an operator adds their own; httpx would take
    certifi's."""
    return ssl.create_default_context()


async def fetch(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> Answer:
    """Make one request. `timeout`: seconds for all of it. Raises FetchFailed or one of its
    kinds."""
    try:
        async with (
            asyncio.timeout(timeout),
            client.stream(method, url, headers=headers, content=content) as response,
        ):
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER:
                    raise UnreadableAnswer(f"its answer has more than {MAX_ANSWER} bytes")
            return Answer(response.status_code, dict(response.headers), bytes(body))
    except TimeoutError:
        raise NoAnswer(f"no answer within {timeout:g} s") from None
    except FetchFailed:
        raise
    except httpx.ConnectError as error:
        raise NoConnection(_text(error)) from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise HungUp(_text(error)) from error
    except Exception as error:
        # httpx lets errors of the layers below it pass.
        raise FetchFailed(_text(error)) from error


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
