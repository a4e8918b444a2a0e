"""System checks of the channel layer: the one that the gateway uses, and whether what the project
sends through its own arrives there. `sockets/checks.py` lists them; none opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from sockets.conf import get_conf
from sockets.layers.chosen import (
    CORE,
    DEFAULT,
    IN_MEMORY,
    MEMORY,
    PREFIX,
    REDIS,
    STOCK,
    Chosen,
    WrongLayer,
    choose,
    line_of,
    project_layers,
    servers_of,
)

TAG: Final = "gateway"
_OTHERWISE: Final = "Or notify users with sockets.api alone, and silence this check."


@register(TAG)
def check_channel_layer(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E001, E002, E010, E011: consumers register sinks, which only our layers and their subclasses
    have; one of memory beside a store of many processes would lose what goes between them."""
    try:
        _chosen()
    except WrongLayer as error:
        return [Error(f"{error.fault}.", hint=_sentence(error.remedy), id=error.id)]
    return []


@register(TAG)
def check_layer_timeouts(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E003: a connection that listens is silent for as long as nobody sends anything."""
    used = _chosen_or_none()
    if used is None or not any(map(_has_socket_timeout, used.config.get("hosts") or ())):
        return []
    where = (
        "redis_url or layer_redis_urls" if used.alias is None else f"CHANNEL_LAYERS[{used.alias!r}]"
    )
    return [
        Error(
            f"{where} sets socket_timeout: a connection that listens is silent while nobody "
            "sends, and would be cut again and again, with the messages of that time.",
            hint="Remove it from the hosts: half-open connections are found without it.",
            id="gateway.E003",
        )
    ]


@register(TAG)
def check_layer_options(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E005: a layer is made at its first use otherwise, which may be a user's first message."""
    errors: list[CheckMessage] = []
    for alias, layer in project_layers().items():
        if not str(layer.get("BACKEND")).startswith("sockets.layers."):
            continue  # of others nobody knows what making one does
        try:
            import_string(layer["BACKEND"])(**layer.get("CONFIG", {}))
        except (ImproperlyConfigured, ImportError, TypeError, ValueError, KeyError) as error:
            hint = f"See CHANNEL_LAYERS[{alias!r}] in the project's settings."
            errors.append(Error(f"{error}.", hint=hint, id="gateway.E005"))
    return errors


@register(TAG)
def check_default_layer(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W010 to W014: `group_send` through the project's default layer raises nothing where nobody
    listens."""
    used, default = _chosen_or_none(), project_layers().get(DEFAULT)
    if used is None or used.alias == DEFAULT or not default:
        return []
    return [
        Warning(
            f"What this project sends to users through CHANNEL_LAYERS['default'] does not reach "
            f"them: {why}.",
            hint=f"{remedy} {_OTHERWISE}",
            id=id,
        )
        for id, why, remedy in _unreached(default, used)
    ]


def _unreached(default: Mapping[str, Any], used: Chosen) -> Iterator[tuple[str, str, str]]:
    """Yield why messages from this layer do not come to the one that is used: the check's id, the
    reason, the remedy."""
    line = line_of(str(default.get("BACKEND", "")))
    if CORE in line:
        why = "it is the core layer of channels-redis, which keeps them in lists nobody reads"
        yield "gateway.W010", why, f"Set its BACKEND to {REDIS!r} or {STOCK!r}, with its hosts."
    elif line & {IN_MEMORY, MEMORY}:
        wanted = REDIS if "hosts" in used.config else MEMORY
        why = "it is in the memory of one process, and the gateway has a layer of its own"
        yield "gateway.W011", why, f"Set its BACKEND to {wanted!r}."
    elif STOCK in line:  # ours too, which is made from it
        yield from _differences(default.get("CONFIG", {}), used)


def _differences(theirs: Mapping[str, Any], used: Chosen) -> Iterator[tuple[str, str, str]]:
    """Compare the options of a layer over Redis' pub/sub with those of the one that is used."""
    ours = used.config
    if used.backend == MEMORY or MEMORY in line_of(used.backend):
        why = "the gateway has no redis_url (REDIS_URL), so it listens to no server"
        yield "gateway.W012", why, "Set redis_url to the server of that layer."
        return
    try:
        same = servers_of(theirs.get("hosts")) == servers_of(ours.get("hosts"))
    except ValueError:
        return  # neither layer can be made, which others say
    if not same:
        why = "the gateway's layer has other servers"
        yield "gateway.W012", why, "Give both the same: layer_redis_urls (LAYER_REDIS_URL)."
    prefix = ours.get("prefix", PREFIX)
    if theirs.get("prefix", PREFIX) != prefix:
        why = f"its channels begin with another prefix than the gateway's, {prefix!r}"
        yield "gateway.W013", why, "Give both the same: layer_prefix (LAYER_PREFIX)."
    if not _can_read(_keys(ours), _keys(theirs)):
        why = "the gateway's layer does not have the key that it encrypts with"
        remedy = "Name with GATEWAY['layer'] an alias with the same symmetric_encryption_keys, and"
        yield "gateway.W014", why, f"{remedy} {REDIS!r} as its BACKEND."
    elif _form(theirs) != _form(ours):
        why = "it writes messages in a form that the gateway's layer does not read"
        yield "gateway.W014", why, f"Set its serializer_format to {_form(ours)!r}."


def _keys(config: Mapping[str, Any]) -> list[Any]:
    return list(config.get("symmetric_encryption_keys") or ())


def _can_read(keys: list[Any], of_the_sender: list[Any]) -> bool:
    """Whether what is encrypted there can be read by these.

    A sender uses the first of its keys, and a receiver tries all: that is how they are changed.
    """
    return of_the_sender[0] in keys if of_the_sender else not keys


def _form(config: Mapping[str, Any]) -> Any:
    return config.get("serializer_format", "msgpack")


def _chosen() -> Chosen | None:
    """Return the layer that is used; None where E004 says why that is not known. Raises
    WrongLayer."""
    try:
        conf = get_conf()
    except ImproperlyConfigured:
        return None
    return choose(conf)


def _chosen_or_none() -> Chosen | None:
    try:
        return _chosen()
    except WrongLayer:
        return None


def _has_socket_timeout(host: Any) -> bool:
    if isinstance(host, dict):
        return host.get("socket_timeout") is not None or _has_socket_timeout(host.get("address"))
    return isinstance(host, str) and "socket_timeout=" in urlsplit(host).query


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
