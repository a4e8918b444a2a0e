"""Names that other libraries keep for themselves and we use all the same: each is looked for where
it comes from, so that a version that has it otherwise is found here."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, Final

import channels_redis.core
import channels_redis.pubsub
import channels_redis.utils
import django.contrib.admin.sites
import django.contrib.auth.base_user
import django.contrib.sessions.backends.cache
import django.core.handlers.base
import django.core.management.base
import django.db.models.query
import django.http.request
import django.http.response
import django.urls.resolvers
import django.utils.functional
import django.utils.log
import jwt
import ninja.main
import pytest
import redis.asyncio.cluster
import redis.asyncio.connection
import redis.connection
import twisted.internet.abstract
import twisted.internet.asyncioreactor
import twisted.protocols.basic
import twisted.web.http
from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.websocket.protocol import WebSocketProtocol

ROOT: Final = Path(__file__).parents[2] / "sockets"

DOCUMENTED: Final = {
    *("_meta", "_state", "_base_manager", "_default_manager"),  # Django's models
    *("_exit", "_getframe", "_replace"),  # os, sys, named tuples
    *("_get_running_loop", "_set_running_loop"),  # asyncio, for those who make event loops
}
"""Names that only look private."""

HTTP: Final = twisted.web.http
PINNED: Final[dict[str, tuple[Any, str]]] = {
    # In the server, of Twisted and autobahn; tests/unit/server/test_foreign.py has more.
    "_GenericHTTPChannelProtocol": (HTTP, "class _GenericHTTPChannelProtocol("),
    "_asyncioEventloop": (twisted.internet.asyncioreactor, "self._asyncioEventloop"),
    "_buffer": (twisted.protocols.basic.LineReceiver, "self._buffer"),
    "_connectionMade": (WebSocketAdapterProtocol.connectionMade, "self._connectionMade()"),
    "_dataReceived": (WebSocketProtocol, "def _dataReceived(self, data"),
    "_disconnectSelectable": (twisted.internet.asyncioreactor, "self._disconnectSelectable("),
    "_handlingRequest": (HTTP.HTTPChannel, "self._handlingRequest = True"),
    "_receivedHeaderCount": (HTTP.HTTPChannel, "self._receivedHeaderCount += 1"),
    "_receivedHeaderSize": (HTTP.HTTPChannel, "self._receivedHeaderSize += "),
    "_tempDataBuffer": (twisted.internet.abstract.FileDescriptor, "self._tempDataBuffer"),
    "_tempDataLen": (twisted.internet.abstract.FileDescriptor, "self._tempDataLen"),
    "_version": (HTTP.HTTPChannel, "self._version"),
    # In its base classes, and called there: a method of ours with another name would be none.
    "_send100Continue": (HTTP.HTTPChannel, "self._send100Continue()"),
    "_maybeChooseTransferDecoder": (HTTP.HTTPChannel, "self._maybeChooseTransferDecoder("),
    "_respondToBadRequestAndDisconnect": (
        HTTP.HTTPChannel,
        "self._respondToBadRequestAndDisconnect()",
    ),
    "_closeConnection": (WebSocketProtocol, "self._closeConnection("),
    "_sendAutoPing": (WebSocketProtocol, "def _sendAutoPing(self)"),
    "_fail_connection": (WebSocketProtocol, "self._fail_connection("),
    # Something of ours is called the same: only this list knows them.
    "_path": (HTTP.HTTPChannel, "self._path = request"),
    "_parser": (redis.asyncio.connection.AbstractConnection, "self._parser"),
    "_registry": (django.contrib.admin.sites.AdminSite, "self._registry = {}"),
    "_serializer": (channels_redis.pubsub.RedisPubSubChannelLayer, "self._serializer = "),
    "_view_middleware": (django.core.handlers.base.BaseHandler, "self._view_middleware = []"),
    "_writer": (redis.asyncio.connection.AbstractConnection, "self._writer = "),
    # Elsewhere.
    "_background_tasks": (redis.asyncio.cluster.NodesManager, "self._background_tasks"),
    "_connections": (redis.connection.BlockingConnectionPool, "self._connections"),
    "_sock": (redis.connection.AbstractConnection, "self._sock"),
    "_consistent_hash": (channels_redis.utils, "def _consistent_hash(value, ring_size)"),
    "_layers": (channels_redis.core, "_layers"),
    "_fields": (django.db.models.query.QuerySet, "self._fields = None"),
    "_func_path": (django.urls.resolvers.ResolverMatch, "self._func_path = "),
    "_get_bound_routers": (ninja.main.NinjaAPI, "def _get_bound_routers(self)"),
    "_get_raw_host": (django.http.request.HttpRequest, "def _get_raw_host(self)"),
    "_has_been_logged": (django.utils.log.log_response, '"_has_been_logged", False'),
    "_jws": (jwt.PyJWT, "self._jws.decode_complete("),
    "_out": (django.core.management.base.OutputWrapper, "self._out.write("),
    "_proxy____cast": (django.utils.functional.lazy, "def __cast(self)"),
    "_resource_closers": (
        django.core.handlers.base.BaseHandler,
        "response._resource_closers.append(request.close)",
    ),
    "_setup": (django.utils.functional.LazyObject, "def _setup(self)"),
    "_wrapped": (django.utils.functional.LazyObject, "self._wrapped = empty"),
    # By `getattr`, so that nothing would be raised.
    "_cache": (
        django.contrib.sessions.backends.cache.SessionStore,
        "self._cache = caches[settings.SESSION_CACHE_ALIAS]",
    ),
    "_password": (
        django.contrib.auth.base_user.AbstractBaseUser.set_password,
        "self._password = raw_password",
    ),
}


def own_names(tree: ast.AST) -> set[str]:
    """What a module of ours defines."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def private_names(tree: ast.AST) -> set[str]:
    """What a module uses of anybody's that begins with one underscore."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name):
                found.add(name)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                if not module.startswith(("sockets", "gateway")):
                    found |= {one.name for one in names}
    return {name for name in found if name.startswith("_") and not name.startswith("__")} - {"_"}


def test_every_private_name_of_another_library_is_looked_for() -> None:
    trees = [ast.parse(path.read_text()) for path in ROOT.rglob("*.py")]
    foreign = set().union(*map(private_names, trees)) - set().union(*map(own_names, trees))
    assert foreign - DOCUMENTED - set(PINNED) == set()


@pytest.mark.parametrize("name", PINNED)
def test_the_name_is_where_it_was(name: str) -> None:
    where, text = PINNED[name]
    assert text in inspect.getsource(where)
