"""What can be wrong with a project's settings, found before the first socket opens.

    gateway.E001   the channel layer is not one of ours
    gateway.E002   some channel layer is the core layer of channels-redis
    gateway.E003   a channel layer has a time-out that cuts idle connections
    gateway.E004   settings of the gateway that do not exist, or cannot be meant together
    gateway.E005   an option of a channel layer of ours that has no meaning
    gateway.E006   an entry of `client_origins` or `api_origins` that no page can have
    gateway.E007   settings that must not face the world
    gateway.W001   SQLite without BEGIN IMMEDIATE
    gateway.W002   production: the admin's cookies go to every path of the host
    gateway.W003   production: browsers reach the public and the private port by one host name
    gateway.W004   production: browsers connect without TLS
    gateway.W005   what a node needs is not set: none would start with these settings

None of them opens a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from sockets import safety
from sockets.auth.origins import parse_rule
from sockets.conf import WrongSettings, get_conf

_LAYERS = "sockets.layers."
_TAG = "gateway"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@register(_TAG)
def check_channel_layer(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E001: the consumers register sinks, which only our layers and their subclasses have."""
    layers: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {})
    backend = layers.get("default", {}).get("BACKEND", "")
    if _is_ours(backend):
        return []
    found = repr(backend) if backend else "missing"
    return [
        Error(
            f"CHANNEL_LAYERS['default']['BACKEND'] is {found}; the gateway needs a channel "
            "layer of its own, which other Channels code can use as well.",
            hint="Set it to 'sockets.layers.redis.RedisChannelLayer', or for a single process to "
            "'sockets.layers.memory.MemoryChannelLayer'.",
            id="gateway.E001",
        )
    ]


@register(_TAG)
def check_core_layer(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E002: what consumers on that layer lose, nobody can give back."""
    layers: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {})
    return [
        Error(
            f"CHANNEL_LAYERS[{alias!r}] is the core layer of channels-redis: it drops messages "
            "above 100 a channel, forgets groups after a day, and a restart of Redis or a "
            "time-out of its client ends every consumer of the process.",
            hint="Use 'sockets.layers.redis.RedisChannelLayer' with the same hosts.",
            id="gateway.E002",
        )
        for alias, layer in layers.items()
        if layer.get("BACKEND", "").startswith("channels_redis.core.")
    ]


@register(_TAG)
def check_layer_timeouts(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E003: a connection that listens is silent for as long as nobody sends anything."""
    layers: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {})
    return [
        Error(
            f"CHANNEL_LAYERS[{alias!r}] sets socket_timeout: a connection that listens is silent "
            "while nobody sends, and would be cut again and again, with the messages of that time.",
            hint="Remove it from the hosts: half-open connections are found without it.",
            id="gateway.E003",
        )
        for alias, layer in layers.items()
        if any(map(_has_socket_timeout, layer.get("CONFIG", {}).get("hosts") or ()))
    ]


@register(_TAG)
def check_layer_options(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E005: a layer is made at its first use otherwise, which may be a user's first message."""
    layers: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {})
    errors: list[CheckMessage] = []
    for alias, layer in layers.items():
        if not str(layer.get("BACKEND")).startswith(_LAYERS):
            continue  # of others nobody knows what making one does
        try:
            import_string(layer["BACKEND"])(**layer.get("CONFIG", {}))
        except (ImproperlyConfigured, ImportError, TypeError, ValueError, KeyError) as error:
            hint = f"See CHANNEL_LAYERS[{alias!r}] in the project's settings."
            errors.append(Error(f"{error}.", hint=hint, id="gateway.E005"))
    return errors


@register(_TAG)
def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E004: a lease shorter than two renewals, and the like."""
    try:
        get_conf()
    except WrongSettings as error:
        hint = "docs/reference/settings.md says what each setting means, and its default."
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
    found: list[CheckMessage] = [
        Error(f"{one.text}.", hint=hint, id="gateway.E007")
        for one in (*safety.unsafe(conf, settings.SECRET_KEY), *safety.unusable_keys(conf))
    ]
    for one in safety.lacking(conf):
        text = f"{one.text}. A node does not start with these settings."
        found.append(Warning(text, hint=hint, id="gateway.W005"))
    return found


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


def _has_socket_timeout(host: Any) -> bool:
    if isinstance(host, dict):
        return host.get("socket_timeout") is not None or _has_socket_timeout(host.get("address"))
    return isinstance(host, str) and "socket_timeout=" in urlsplit(host).query


def _is_ours(backend: str) -> bool:
    """Whether the dotted path names one of our layers or a subclass of one."""
    if backend.startswith(_LAYERS):
        return True
    try:
        layer = import_string(backend)
    except ImportError:
        return False
    return any(base.__module__.startswith(_LAYERS) for base in getattr(layer, "__mro__", ()))


@register(_TAG)
def check_sqlite_transactions(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W001: a deferred transaction that turns into a writer fails at once with "locked"."""
    return [
        Warning(
            f"DATABASES[{alias!r}] is SQLite and begins its transactions deferred: under load, "
            "writes fail with 'database is locked' without waiting for the timeout.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] to 'IMMEDIATE'.",
            id="gateway.W001",
        )
        for alias, database in settings.DATABASES.items()
        if database.get("ENGINE", "").endswith("sqlite3")
        and str(database.get("OPTIONS", {}).get("transaction_mode")).upper() != "IMMEDIATE"
    ]


@register(_TAG)
def check_cookie_paths(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W002: browsers send a host's cookies to all of its ports, so the path must part them."""
    try:
        if get_conf().environment != "production":
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
        for name in ("SESSION_COOKIE_PATH", "CSRF_COOKIE_PATH")
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
    if public == private:
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
                hint="Let a proxy end TLS (docs/tls-and-proxies.md), and set it to wss://….",
                id="gateway.W004",
            )
        )
    return found
