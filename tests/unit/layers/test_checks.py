"""The checks of the channel layer: the one that is used, and the project's own beside it."""

from __future__ import annotations

from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.conf import LazySettings
from django.core.checks import CheckMessage

from sockets.layers import checks
from sockets.layers.chosen import CORE, IN_MEMORY, MEMORY, REDIS, STOCK

URL = "redis://h:6379/0"


class InMemory(InMemoryChannelLayer):
    """A project's own variation."""


def ids(found: list[CheckMessage]) -> list[str | None]:
    assert all(message.hint for message in found), "a message without a remedy"
    return [message.id for message in found]


@pytest.mark.parametrize(
    ("layers", "given", "found"),
    [
        ({}, {}, []),
        ({}, {"redis_url": URL}, []),
        ({"default": {"BACKEND": IN_MEMORY}}, {}, []),
        ({"default": {"BACKEND": STOCK}}, {"redis_url": URL}, []),
        ({"default": {"BACKEND": "no.such.module.Layer"}}, {}, []),
        ({"default": {"BACKEND": MEMORY}}, {}, []),
        ({"default": {"BACKEND": MEMORY}}, {"redis_url": URL}, ["gateway.E010"]),
        ({"default": {"BACKEND": REDIS}}, {}, ["gateway.E010"]),
        ({"own": {"BACKEND": MEMORY}}, {"layer": "own", "redis_url": URL}, ["gateway.E010"]),
        ({"default": {"BACKEND": MEMORY}}, {"layer": "own"}, ["gateway.E001"]),
        ({"own": {"BACKEND": IN_MEMORY}}, {"layer": "own"}, ["gateway.E001"]),
        ({"own": {"BACKEND": "no.such.Layer"}}, {"layer": "own"}, ["gateway.E001"]),
        ({"own": {"BACKEND": CORE}}, {"layer": "own", "redis_url": URL}, ["gateway.E002"]),
        (
            {"default": {"BACKEND": REDIS, "CONFIG": {"serializer_format": "json"}}},
            {"redis_url": URL},
            ["gateway.E011"],
        ),
        ({}, {"redis_url": "redis+cluster://h:1"}, ["gateway.E010"]),
        ({}, {"layer_redis_urls": (URL,)}, ["gateway.E010"]),
        ({}, {"no_such_setting": 1}, []),  # E004
    ],
    ids=str,
)
def test_the_layer_that_the_gateway_uses(
    settings: LazySettings, layers: dict[str, Any], given: dict[str, Any], found: list[str]
) -> None:
    """Rule 12: an error only for the layer that we use."""
    settings.CHANNEL_LAYERS, settings.GATEWAY = layers, given
    assert ids(checks.check_channel_layer()) == found


@pytest.mark.parametrize("alias", ["default", "other"])
def test_the_core_layer_is_no_error_where_we_do_not_use_it(
    settings: LazySettings, alias: str
) -> None:
    """Rule 12."""
    settings.GATEWAY = {"redis_url": URL}
    settings.CHANNEL_LAYERS = {alias: {"BACKEND": CORE, "CONFIG": {"socket_timeout": 5}}}
    assert checks.check_channel_layer() == checks.check_layer_timeouts() == []


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (None, 0),
        ([], 0),
        (["redis://h:1/0"], 0),
        ([("h", 6379)], 0),
        ([{"host": "h", "socket_timeout": None}], 0),
        ([{"host": "h", "socket_timeout": 5}], 1),
        ([{"address": "redis://h?socket_timeout=5"}], 1),
        (["redis://a", "redis://h?socket_timeout=5"], 1),
    ],
)
def test_a_timeout_that_cuts_idle_connections(
    settings: LazySettings, hosts: Any, found: int
) -> None:
    """Rule 12: of the layer that we use."""
    layer = {"BACKEND": REDIS, "CONFIG": {"hosts": hosts}}
    settings.GATEWAY = {"redis_url": URL}
    settings.CHANNEL_LAYERS = {"default": layer}
    assert ids(checks.check_layer_timeouts()) == ["gateway.E003"] * found
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS}, "other": layer}
    assert ids(checks.check_layer_timeouts()) == []


def test_a_timeout_in_the_url_of_our_own_layer(settings: LazySettings) -> None:
    """Rule 12."""
    settings.CHANNEL_LAYERS = {}
    settings.GATEWAY = {"redis_url": f"{URL}?socket_timeout=5"}
    [error] = checks.check_layer_timeouts()
    assert ids([error]) == ["gateway.E003"] and error.msg.startswith("redis_url")


KEYS = {"symmetric_encryption_keys": ["k"]}


@pytest.mark.parametrize(
    ("default", "given", "found"),
    [
        (None, {"redis_url": URL}, []),
        ({"BACKEND": "no.such.Layer"}, {"redis_url": URL}, []),
        ({"BACKEND": CORE}, {"redis_url": URL}, ["gateway.W010"]),
        ({"BACKEND": CORE}, {}, ["gateway.W010"]),
        ({"BACKEND": IN_MEMORY}, {}, ["gateway.W011"]),
        ({"BACKEND": IN_MEMORY}, {"redis_url": URL}, ["gateway.W011"]),
        ({"BACKEND": f"{__name__}.InMemory"}, {}, ["gateway.W011"]),
        ({"BACKEND": STOCK, "CONFIG": {"hosts": [URL]}}, {}, ["gateway.W012"]),
        ({"BACKEND": STOCK, "CONFIG": {"hosts": [URL]}}, {"redis_url": URL}, []),
        ({"BACKEND": STOCK, "CONFIG": {"hosts": ["redis://h/7"]}}, {"redis_url": URL}, []),
        ({"BACKEND": STOCK, "CONFIG": {"hosts": [("h", 6379)]}}, {"redis_url": URL}, []),
        (
            {"BACKEND": STOCK, "CONFIG": {"hosts": [("127.0.0.1", 6379)]}},
            {"redis_url": "redis://localhost/1"},
            [],
        ),
        ({"BACKEND": STOCK}, {"redis_url": "redis://localhost"}, []),
        ({"BACKEND": STOCK}, {"redis_url": URL}, ["gateway.W012"]),
        (
            {"BACKEND": STOCK, "CONFIG": {"hosts": [URL, "redis://b"]}},
            {"redis_url": URL},
            ["gateway.W012"],
        ),
        (
            {"BACKEND": STOCK, "CONFIG": {"hosts": [URL], "prefix": "shop"}},
            {"redis_url": URL},
            [],  # ours takes it
        ),
        (
            {"BACKEND": STOCK, "CONFIG": {"hosts": [URL], "prefix": "shop"}},
            {"redis_url": URL, "layer_prefix": "gw"},
            ["gateway.W013"],
        ),
        ({"BACKEND": STOCK, "CONFIG": {"hosts": 5}}, {"redis_url": URL}, []),
        (
            {"BACKEND": STOCK, "CONFIG": {"hosts": [URL], **KEYS}},
            {"redis_url": URL},
            ["gateway.W014"],
        ),
        (
            {"BACKEND": STOCK, "CONFIG": {"hosts": [URL], "serializer_format": "json"}},
            {"redis_url": URL},
            ["gateway.W014"],
        ),
    ],
    ids=str,
)
def test_what_the_project_sends_by_its_own_layer(
    settings: LazySettings, default: dict[str, Any] | None, given: dict[str, Any], found: list[str]
) -> None:
    """Rule 12: warnings where `group_send` of this project will not reach users."""
    settings.GATEWAY = given
    settings.CHANNEL_LAYERS = {} if default is None else {"default": default}
    assert ids(checks.check_default_layer()) == found


def test_an_alias_is_compared_too(settings: LazySettings) -> None:
    """Rule 12."""
    ours = {"BACKEND": REDIS, "CONFIG": {"hosts": [URL], "prefix": "gw", **KEYS}}
    theirs = {"BACKEND": STOCK, "CONFIG": {"hosts": [URL], **KEYS}}
    settings.GATEWAY = {"redis_url": URL, "layer": "own"}
    settings.CHANNEL_LAYERS = {"default": theirs, "own": ours}
    assert ids(checks.check_default_layer()) == ["gateway.W013"]
    settings.GATEWAY = {"redis_url": URL, "layer": "none"}  # E001 says why
    assert ids(checks.check_default_layer()) == []
    settings.GATEWAY = {"layer": "own"}
    settings.CHANNEL_LAYERS = {"default": theirs, "own": {"BACKEND": MEMORY}}
    assert ids(checks.check_default_layer()) == ["gateway.W012"]
    settings.GATEWAY = {}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": MEMORY}}  # is the one that we use
    assert ids(checks.check_default_layer()) == []


@pytest.mark.parametrize(
    ("theirs", "ours", "found"),
    [
        (["new", "old"], ["old", "new"], []),
        (["old"], ["new", "old"], []),
        (["new", "old"], ["old"], ["gateway.W014"]),
        ([], ["old"], ["gateway.W014"]),
        (["old"], [], ["gateway.W014"]),
    ],
)
def test_keys_that_are_being_changed(
    settings: LazySettings, theirs: list[str], ours: list[str], found: list[str]
) -> None:
    """Rule 12: a layer encrypts with its first key, and decrypts with any."""
    keys = "symmetric_encryption_keys"
    settings.GATEWAY = {"redis_url": URL, "layer": "own"}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": STOCK, "CONFIG": {"hosts": [URL], keys: theirs}},
        "own": {"BACKEND": REDIS, "CONFIG": {"hosts": [URL], keys: ours}},
    }
    assert ids(checks.check_default_layer()) == found


def test_no_warning_shows_a_password(settings: LazySettings) -> None:
    settings.GATEWAY = {"redis_url": "redis://:hunter2@h"}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": STOCK, "CONFIG": {"hosts": ["redis://:hunter2@b"]}}
    }
    [found] = checks.check_default_layer()
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("backend", "config", "names"),
    [
        (MEMORY, {"capacity": 0}, "capacity"),
        (MEMORY, {"hosts": []}, "hosts"),
        (REDIS, {"group_expiry": 5}, "group_expiry"),
        (
            REDIS,
            {"hosts": [{"port": 1}], "expiry": -1},
            "expiry",
        ),
        ("sockets.layers.memory.NoSuchLayer", {}, "NoSuchLayer"),
        (MEMORY, {"expiry": 10**400}, "expiry"),
        (REDIS, {"hosts": [5]}, "hosts"),
        (REDIS, {"hosts": [("x",)]}, "hosts"),
        (REDIS, {"hosts": ["redis://a:port"]}, "hosts"),
        (REDIS, {"hosts": [{"address": 5}]}, "hosts"),
        (REDIS, {"hosts": "redis://localhost"}, "hosts"),
        (REDIS, {"prefix": 5}, "prefix"),
    ],
    ids=str,
)
def test_options_of_a_layer(
    settings: LazySettings, backend: str, config: dict[str, Any], names: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    (found,) = checks.check_layer_options()
    assert ids([found]) == ["gateway.E005"]
    assert names in found.msg
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": MEMORY, "CONFIG": {"capacity": 5}}}
    assert not checks.check_layer_options()


def test_a_secret_in_the_hosts_is_not_repeated(settings: LazySettings) -> None:
    layer = {"BACKEND": REDIS}
    hosts = ["redis://:very/secret@localhost:6379/0"]
    settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": {"hosts": hosts}}}
    (found,) = checks.check_layer_options()
    assert "very" not in found.msg and "secret" not in found.msg
