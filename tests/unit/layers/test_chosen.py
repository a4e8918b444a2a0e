"""Which channel layer the gateway uses, and how it makes one of its own."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import LazySettings

from sockets.conf import Conf
from sockets.layers.chosen import (
    CORE,
    IN_MEMORY,
    MEMORY,
    REDIS,
    STOCK,
    Chosen,
    WrongLayer,
    choose,
    line_of,
    own_layer,
    servers_of,
)
from sockets.layers.memory import MemoryChannelLayer
from sockets.layers.redis import RedisChannelLayer

URL = "redis://h:6379/0"


class OwnMemory(MemoryChannelLayer):
    """A project's own variation."""


class OwnRedis(RedisChannelLayer):
    """A project's own variation."""


@pytest.mark.parametrize("backend", [MEMORY, f"{__name__}.OwnMemory"])
@pytest.mark.parametrize(("alias", "named"), [("default", None), ("own", "own")])
def test_a_layer_of_the_project(
    settings: LazySettings, backend: str, alias: str, named: str | None
) -> None:
    """Rule 12: an alias that is ours, or a subclass; "default" needs no name."""
    settings.CHANNEL_LAYERS = {alias: {"BACKEND": backend, "CONFIG": {"capacity": 7}}}
    chosen = choose(Conf(layer=named))
    assert chosen == Chosen(alias, backend, {"capacity": 7})
    assert chosen.make() is get_channel_layer(alias), "the project's own object"


def test_a_layer_of_the_project_in_redis(settings: LazySettings) -> None:
    """Rule 12: its hosts, prefix and keys, whatever the other settings say."""
    config = {"hosts": [("a", 1), "redis://b/2"], "prefix": "shop"}
    settings.CHANNEL_LAYERS = {"own": {"BACKEND": f"{__name__}.OwnRedis", "CONFIG": config}}
    conf = Conf(layer="own", redis_url=URL, layer_redis_urls=(URL,), layer_prefix="other")
    layer = choose(conf).make()
    assert layer.hosts == [{"host": "a", "port": 1}, {"address": "redis://b/2"}]
    assert layer.wire.prefix == "shop"


@pytest.mark.parametrize("backend", [None, IN_MEMORY, CORE, STOCK, "no.such.Layer"])
def test_otherwise_one_of_its_own(settings: LazySettings, backend: str | None) -> None:
    """Rule 12: another default layer stops nothing, and is none of ours."""
    settings.CHANNEL_LAYERS = {} if backend is None else {"default": {"BACKEND": backend}}
    chosen = choose(Conf(layer_capacity=9))
    assert chosen == Chosen(None, MEMORY, {"capacity": 9})
    assert type(chosen.make()) is MemoryChannelLayer and chosen.make() is not chosen.make()
    in_redis = choose(Conf(redis_url=URL, layer_capacity=9))
    assert in_redis == Chosen(None, REDIS, {"capacity": 9, "hosts": [URL], "prefix": "asgi"})
    assert type(in_redis.make()) is RedisChannelLayer
    elsewhere = choose(Conf(redis_url=URL, layer_redis_urls=("redis://a", "redis://b")))
    assert elsewhere.config["hosts"] == ["redis://a", "redis://b"]


@pytest.mark.parametrize(
    ("url", "prefix", "beside", "found"),
    [
        (URL, None, None, "asgi"),
        ("redis://h/3", None, None, "asgi.3"),
        ("redis://h/3", "gw", None, "gw"),
        ("redis://h/3", None, {"hosts": ["redis://h"]}, "asgi"),
        ("redis://h/3", None, {"hosts": [("h", 6379)], "prefix": "shop"}, "shop"),
        ("redis://:pw@h/3", None, {"hosts": ["redis://h"], "prefix": "shop"}, "shop"),
        ("redis://127.0.0.1/3", None, {"prefix": "shop"}, "shop"),  # its own default server
        ("redis://h/3", None, {"hosts": ["redis://other"], "prefix": "shop"}, "asgi.3"),
        ("redis://h/3", None, {"hosts": [URL, "redis://b"], "prefix": "shop"}, "asgi.3"),
        ("redis://h/3", None, {"hosts": "no list", "prefix": "shop"}, "asgi.3"),
        ("redis://h/3", "gw", {"hosts": ["redis://h"], "prefix": "shop"}, "gw"),
        ("unix:///r.sock?db=2", None, None, "asgi.2"),
        ("redis+sentinel://a,b/4?service=m", None, None, "asgi.4"),
        ("redis://h/letters", None, None, "asgi"),
    ],
)
def test_the_prefix(
    url: str, prefix: str | None, beside: dict[str, Any] | None, found: str
) -> None:
    """Rule 12: that of the stock layer on the same server, so that its `group_send` arrives."""
    entry = None if beside is None else {"BACKEND": STOCK, "CONFIG": beside}
    made = own_layer(Conf(redis_url=url, layer_prefix=prefix), beside=entry)
    assert made["CONFIG"]["prefix"] == found


def test_the_prefix_of_the_core_layer_says_nothing() -> None:
    entry = {"BACKEND": CORE, "CONFIG": {"hosts": [URL], "prefix": "shop"}}
    assert own_layer(Conf(redis_url=URL), beside=entry)["CONFIG"]["prefix"] == "asgi"


def test_what_is_refused_names_the_remedy(settings: LazySettings) -> None:
    """Rule 12: memory with Redis, the reverse, and an alias that is none of ours."""
    settings.CHANNEL_LAYERS = {
        "memory": {"BACKEND": MEMORY},
        "redis": {"BACKEND": REDIS},
        "core": {"BACKEND": CORE},
        "json": {"BACKEND": REDIS, "CONFIG": {"serializer_format": "json"}},
    }
    for conf, id, remedy in (
        (Conf(layer="memory", redis_url=URL), "gateway.E010", REDIS),
        (Conf(layer="redis"), "gateway.E010", "redis_url"),
        (Conf(layer="core", redis_url=URL), "gateway.E002", REDIS),
        (Conf(layer="json", redis_url=URL), "gateway.E011", "msgpack"),
        (Conf(layer="none"), "gateway.E001", MEMORY),
        (Conf(layer_redis_urls=(URL,)), "gateway.E010", "REDIS_URL"),
        (Conf(redis_url="redis+cluster://h"), "gateway.E010", "LAYER_REDIS_URL"),
    ):
        with pytest.raises(WrongLayer) as caught:
            choose(conf)
        error = caught.value
        assert error.id == id and remedy in error.remedy and error.remedy in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_cluster_needs_another_server_for_the_layer() -> None:
    conf = Conf(redis_url="redis+cluster://h", layer_redis_urls=("redis://l",))
    assert own_layer(conf)["CONFIG"]["hosts"] == ["redis://l"]


def test_the_classes_of_a_layer() -> None:
    assert {MEMORY, f"{__name__}.OwnMemory"} <= line_of(f"{__name__}.OwnMemory")
    assert STOCK in line_of(REDIS)
    assert line_of("no.such.Layer") == {"no.such.Layer"}
    assert line_of(f"{__name__}.URL") == {f"{__name__}.URL"}, "importable, and no class"


def test_servers_by_whatever_name() -> None:
    same = [
        "redis://localhost",
        ("127.0.0.1", 6379),
        {"host": "localhost"},
        "redis://u:p@localhost/5",
    ]
    assert set(servers_of(same)) == {"localhost:6379"}
    assert servers_of(["rediss://A:1", "unix:///r.sock"]) == ["a:1", "/r.sock"]
    for wrong in ("redis://h", [("h",)]):
        with pytest.raises(ValueError):
            servers_of(wrong)
