"""What can be wrong with a project's settings, found before the first socket opens.

    gateway.E001   GATEWAY['layer'] names no channel layer of ours
    gateway.E002   it names the core layer of channels-redis
    gateway.E003   the layer that we use has a time-out that cuts idle connections
    gateway.E004   settings of the gateway that do not exist, or cannot be meant together
    gateway.E005   an option of a channel layer of ours that has no meaning
    gateway.E006   an entry of `client_origins` or `api_origins` that no page can have
    gateway.E007   settings that must not face the world
    gateway.E010   the layer that we use is one of memory and the state in Redis, or the reverse
    gateway.E011   the layer that we use writes JSON
    gateway.W001   SQLite without BEGIN IMMEDIATE; said by `serve` alone
    gateway.W002   production: one of the admin's own cookies goes to every path of the host
    gateway.W003   production: browsers reach the admin with its own cookies by the public name
    gateway.W004   production: browsers connect without TLS
    gateway.W005   what a node needs is not set: none would start with these settings
    gateway.W006   the project's URLs have a path that the gateway serves itself
    gateway.W007   deploy: strangers see the project's admin
    gateway.W008   deploy: no process but the gateway itself could notify

What the project sends through its default channel layer does not reach our users:

    gateway.W010   it is the core layer of channels-redis
    gateway.W011   it is in the memory of one process
    gateway.W012   it has other servers than the layer that we use
    gateway.W013   it has another prefix
    gateway.W014   it encrypts or writes messages in another way

None of them opens a connection. Those of channel layers are in `sockets/layers/checks.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.urls import Resolver404, URLResolver, get_resolver
from django.utils.module_loading import import_string

from sockets import safety
from sockets.auth.origins import parse_rule
from sockets.auth.session_reader import unusable_sessions
from sockets.base.within import shown_by
from sockets.conf import WrongSettings, get_conf
from sockets.http.own_paths import own_paths
from sockets.layers import checks as _of_layers  # noqa: F401  (importing registers them)

_TAG = "gateway"
_COOKIE_PATHS = ("SESSION_COOKIE_PATH", "CSRF_COOKIE_PATH")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@register(_TAG)
def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E004: a lease shorter than two renewals, and the like."""
    try:
        get_conf()
    except WrongSettings as error:
        hint = (
            "The page Settings of the documentation says what each setting means, and its default."
        )
        return [Error(f"{one.text}.", hint=hint, id="gateway.E004") for one in error.faults]
    return []


@register(_TAG)
def check_safety(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E007, W005: what is unsafe must not run anywhere; what is lacking, a web process works
    without."""
    try:
        conf = get_conf()
    except ImproperlyConfigured:
        return []  # E004 says why
    why = "" if settings.DEBUG else " (Without DEBUG it is production, whatever ENVIRONMENT says.)"
    hint = f"A key of GATEWAY is the name of the variable in lower case.{why}"
    unsafe = [*safety.unsafe(conf, settings.SECRET_KEY), *safety.unusable_keys(conf)]
    found: list[CheckMessage] = [
        Error(f"{one.text}.", hint=hint, id="gateway.E007") for one in unsafe
    ]
    for one in (*safety.lacking(conf), *unusable_sessions(conf)):
        if one not in unsafe:
            text = f"{one.text}. A node does not start with these settings."
            found.append(Warning(text, hint=hint, id="gateway.W005"))
    return found


@register(_TAG)
def check_own_paths(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W006: `with_gateway` serves them first, and whoever wrote the view waits for its requests."""
    try:
        resolver, conf = get_resolver(), get_conf()
        api_path, paths = conf.api_path, own_paths(conf)
        resolver.url_patterns  # noqa: B018  # imports the URLconf, or fails
    except (ImproperlyConfigured, ImportError, AttributeError):
        return []  # E004 says why; or the project has no URLs, which Django says where it has to
    given = {path: _view_of(resolver, path) for path in paths}
    for path, view in _routes(resolver.url_patterns):
        if path.startswith(api_path):
            given[api_path] = given[api_path] or f"{view} ({path})"
    return [
        Warning(
            f"The project's URLs lead from {path} to {view}, and with_gateway() serves that path "
            "itself where it is round the project's application.",
            hint="Give the view another path, or the API with GATEWAY['api_path']; or silence "
            "this where only servers without with_gateway() are asked for it.",
            id="gateway.W006",
        )
        for path, view in given.items()
        if view
    ]


def _view_of(resolver: URLResolver, path: str) -> str:
    """Return the name of the view at this path; "": there is none, or one that takes any path, as
    the page of an application in JavaScript does, which waits for none of ours."""
    alike = re.sub("[a-z]", "z", path)
    try:
        match = resolver.resolve(path)
    except Resolver404:
        return ""
    with suppress(Resolver404):
        if resolver.resolve(alike)._func_path == match._func_path:
            return ""
    return str(match._func_path)


def _routes(patterns: Iterable[Any], before: str = "/") -> Iterator[tuple[str, str]]:
    """Yield the paths of these patterns as they are written, and the names of their views."""
    for one in patterns:
        path = before + str(one.pattern).removeprefix("^")
        if isinstance(one, URLResolver):
            yield from _routes(one.url_patterns, path)
        else:
            yield path, one.lookup_str


@register(_TAG, deploy=True)
def check_public_admin(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W007: whoever wrote `public_admin=True` shall read it once more before it is deployed, and
    whose Django cannot be seen in there shall know."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    try:
        application = import_string(str(path).replace(":", "."))
    except Exception:
        return []  # whatever a foreign module raises, `serve` says
    site = shown_by(application)
    if site is None or not site.public or site.hides_admin:
        return []
    hint = "Leave public_admin out of with_gateway(): the private port has the admin too."
    if not site.public_admin:
        if not apps.is_installed("django.contrib.admin"):
            return []
        hint = (
            "No handler of Django's can be seen in the application: give with_gateway() what "
            "get_asgi_application() returns, with other middleware round both; or silence this "
            "where there is no admin in it."
        )
    text = f"ASGI_APPLICATION, {path}, shows the project's site at the public port, and its admin "
    return [Warning(f"{text}with it.", hint=hint, id="gateway.W007")]


@register(_TAG, deploy=True)
def check_reach(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W008: a site that notifies with these settings hears so at its first call."""
    try:
        conf = get_conf()
    except ImproperlyConfigured:
        return []  # E004 says why
    if conf.environment != "production" or conf.redis_url or conf.gateway_url:
        return []
    return [
        Warning(
            "Neither REDIS_URL nor GATEWAY_URL is set, and this is production: no process but the "
            "gateway's own can notify or ask; in a web worker, a task or a command that fails with "
            "GatewayUnreachable.",
            hint="Set REDIS_URL for all processes of the project, or in those that hold no sockets "
            "GATEWAY_URL and GATEWAY_KEY; or silence this where only receivers and the HTTP API "
            "notify.",
            id="gateway.W008",
        )
    ]


@register(_TAG)
def check_origins(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E006: such an entry lets nobody in, and whoever wrote it waits for its pages. `null` is one
    of them: it is never let in."""
    try:
        conf = get_conf()
    except ImproperlyConfigured:
        return []  # E004 says why
    errors: list[CheckMessage] = []
    for name, entries in (
        ("client_origins", conf.client_origins),
        ("api_origins", conf.api_origins),
    ):
        for entry in entries:
            if entry == "*" and name == "client_origins":
                continue
            try:
                parse_rule(entry)
            except ValueError as error:
                shown = "An entry" if "@" in entry else repr(entry[:200])  # of it a password
                hint = "List scheme://host or scheme://host:port of pages that are served."
                text = f"{shown} of GATEWAY[{name!r}] is no page's origin: {error}."
                errors.append(Error(text, hint=hint, id="gateway.E006"))
    return errors


def _admin_has_cookies_of_its_own() -> bool:
    """Whether the cookies of this project are meant for its admin alone: one of them has a path.

    A site that has an admin too has the same cookies for both, and needs them on every path.
    """
    return any(getattr(settings, name) != "/" for name in _COOKIE_PATHS)


def sqlite_transactions() -> list[CheckMessage]:
    """W001: a deferred transaction that turns into a writer fails at once with "locked".

    Said by `manage.py serve`, not in development: it has one writer of ours, many of whoever else
    is there, and other commands and the project's own processes are not for us to judge.
    """
    from sockets.models import Session

    alias = router.db_for_write(Session)
    database = settings.DATABASES[alias]
    options = database.get("OPTIONS", {})
    if not database.get("ENGINE", "").endswith("sqlite3"):
        return []
    if str(options.get("transaction_mode")).upper() == "IMMEDIATE":
        return []
    return [
        Warning(
            f"DATABASES[{alias!r}] is SQLite and begins its transactions deferred: under load, "
            "writes fail with 'database is locked' without waiting for the timeout.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] to 'IMMEDIATE'.",
            id="gateway.W001",
        )
    ]


@register(_TAG)
def check_cookie_paths(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W002: browsers send a host's cookies to all of its ports, so the path must part them."""
    try:
        if get_conf().environment != "production" or not _admin_has_cookies_of_its_own():
            return []
    except ImproperlyConfigured:
        return []  # E004 says why
    return [
        Warning(
            f"{name} is '/': a browser sends the admin's cookie to the public port of the same "
            "host too, because cookies know no ports.",
            hint=f"Set {name} to the path that the admin is served under, e.g. '/admin/'.",
            id="gateway.W002",
        )
        for name in _COOKIE_PATHS
        if getattr(settings, name) == "/"
    ]


@register(_TAG)
def check_host_names(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W003, W004: cookies know no ports, and without TLS tokens can be read."""
    try:
        conf = get_conf()
    except ImproperlyConfigured:
        return []  # E004 says why
    if conf.environment != "production":
        return []
    found: list[CheckMessage] = []
    # Where a URL is not set, this machine's own name stands for it.
    public, private = (
        urlsplit(url or "ws://localhost").hostname
        for url in (conf.client_socket_url, conf.worker_socket_url)
    )
    if public == private and _admin_has_cookies_of_its_own():
        found.append(
            Warning(
                f"CLIENT_SOCKET_URL and WORKER_SOCKET_URL have the same host name, {public!r}: "
                "cookies that anything on the public port sets reach the admin's.",
                hint="Give the private port a host name of its own and set both URLs, e.g. "
                "wss://gateway.example.com and wss://gateway-admin.example.net.",
                id="gateway.W003",
            )
        )
    url = conf.client_socket_url
    if url is not None and url.startswith("ws://") and public not in _LOOPBACK:
        found.append(
            Warning(
                "CLIENT_SOCKET_URL is ws://: tokens and messages can be read on their way.",
                hint="Let a proxy end TLS, and set it to wss://….",
                id="gateway.W004",
            )
        )
    return found
