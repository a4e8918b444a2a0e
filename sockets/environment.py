"""The settings of the gateway out of environment variables, for any Django project.

    GATEWAY = environment.read()

One line a variable, with its unit where the reader does not name it; what each means is in
docs/reference/settings.md. Only variables that become keys of `sockets.conf.Conf` are read here: a
project has its own SECRET_KEY, DATABASES and the like, and may read them with the same strict
`Variables`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sockets import safety
from sockets.base.contradictions import AUTH_METHODS, ENVIRONMENTS, WEBHOOK_EVENTS
from sockets.conf import Conf, WrongSettings
from sockets.types import Surface
from sockets.variables.faults import Wrong
from sockets.variables.reader import Variables
from sockets.variables.safety import note_weak, weak_keys
from sockets.variables.urls import CLUSTER

__all__ = ["Variables", "gather", "judge", "read"]

_JWT_KEYS = ("JWT_SECRET", "JWT_SECRETS", "JWT_PUBLIC_KEYS", "JWT_JWKS_URL")
_YEAR = 365 * 86_400  # seconds


def read(*, base: Path | None = None, file: Path | None = None, prefix: str = "") -> dict[str, Any]:
    """Return the dictionary `GATEWAY`.

    It has every key of Conf but `environment` where no variable says it: then DEBUG of Django's
    settings does. `base`: the folder where relative paths begin; None: the working directory.
    `file`: a `.env` file for what the process' environment does not set; None: no file is read.
    `prefix` stands before the name of every variable. Raises WrongSettings with a line for each
    variable that has a wrong form; what only a node needs is judged when one starts.
    """
    variables = Variables(os.environ, file, base=base, prefix=prefix, patient=True)
    if (variables.given("NODE_ENV") or "test").lower() not in ENVIRONMENTS:
        variables.wrong.add("NODE_ENV")  # of another program's: "staging", say
    gateway = gather(variables)
    variables.refuse()
    return gateway


def gather(variables: Variables) -> dict[str, Any]:
    """Return the dictionary `GATEWAY` from `variables`, and note there what is wrong.

    For a project that reads variables of its own: its `variables.refuse()` then tells of all
    faults at once. Writes nothing.
    """
    gateway = _read(variables)
    _check_redis(variables, gateway)
    if gateway["client_port"] == gateway["worker_port"] != 0:
        fault, remedy = "it equals CLIENT_SOCKET_PORT", "choose another, or 0"
        variables.note(Wrong("WORKER_SOCKET_PORT", fault, remedy, also=["CLIENT_SOCKET_PORT"]))
    try:
        Conf(**gateway)
    except WrongSettings as error:
        variables.note(error)
    return gateway


def judge(variables: Variables, gateway: dict[str, Any], secrets: Collection[str] = ()) -> None:
    """Note in `variables` why a node would not start with `gateway`.

    For a project that wants every command to know: `gateway` has its `environment` by then, as
    `sockets.conf.environment_of` says it. `secrets`: variables of its own that hold one,
    which production judges with the others.
    """
    conf = cast(Conf, SimpleNamespace(**gateway))  # what contradicts itself is no Conf
    variables.note(*safety.lacking(conf), *safety.exposed(conf))
    if gateway["environment"] == "production":
        note_weak(variables, also=secrets)
    variables.note(*safety.unusable_keys(conf))


def _has_jwt(variables: Variables) -> bool:
    """Whether any key for tokens is set, even a wrong one."""
    return any(map(variables.given, _JWT_KEYS))


def _check_redis(variables: Variables, gateway: dict[str, Any]) -> None:
    layer = gateway["layer_redis_urls"]
    if layer and not gateway["redis_url"]:
        fault, remedy = "it is set without REDIS_URL", "set both, or none"
        variables.note(Wrong("LAYER_REDIS_URL", fault, remedy, also=["REDIS_URL"]))
    if any(url.startswith(CLUSTER) for url in layer or (gateway["redis_url"],)):
        fault = "the channel layer does not run on a Cluster"
        variables.note(Wrong("LAYER_REDIS_URL", fault, "name another server"))


def _read(env: Variables) -> dict[str, Any]:
    default = Conf()
    node_env = env.choice("NODE_ENV", "", ENVIRONMENTS)  # of Node services
    environment = env.choice("ENVIRONMENT", node_env, ENVIRONMENTS)
    production = environment == "production"
    auth = ("jwt",) if _has_jwt(env) else ()
    session_database = env.database("SESSION_DATABASE_URL")  # the project's alias `sessions`
    redis_database = env.integer("REDIS_DB", 0, minimum=0, maximum=65535)
    return {
        **({"environment": environment} if environment else {}),
        "data_dir": env.path("DATA_DIR", env.base / default.data_dir),
        "node_name": env.label("NODE_NAME", socket.gethostname() or default.node_name),
        "surface": Surface(env.choice("SURFACE", default.surface, Surface)),
        "demo": env.flag("DEMO", default.demo),
        "client_port": env.port("CLIENT_SOCKET_PORT", default.client_port),
        "worker_port": env.port("WORKER_SOCKET_PORT", default.worker_port),
        "client_socket_url": env.url("CLIENT_SOCKET_URL", ("wss", "ws")),
        "worker_socket_url": env.url("WORKER_SOCKET_URL", ("wss", "ws")),
        "api_server_url": env.url("API_SERVER_URL", ("https", "http")),
        "client_origins": env.origins("CLIENT_ORIGIN", below=True),
        "client_paths": env.words("CLIENT_PATHS", default.client_paths),
        "worker_paths": env.words("WORKER_PATHS", default.worker_paths),
        "api_path": env.url_path("API_PATH", default.api_path),
        "trusted_proxies": env.proxies("TRUSTED_PROXIES"),
        "api_origins": env.origins("API_ORIGIN", below=True),
        "hsts_seconds": env.integer("HSTS_SECONDS", _YEAR if production else 0, minimum=0),
        "auth": env.choices("AUTH", auth, AUTH_METHODS),
        "jwt_secret": env.secret("JWT_SECRET"),  # HS256: at least 32 bytes
        "jwt_secrets": env.labelled_secrets("JWT_SECRETS", at_least=32),
        "jwt_public_keys": env.labelled_files("JWT_PUBLIC_KEYS"),
        "jwt_audience": env.words("JWT_AUDIENCE"),
        "jwt_issuer": env.words("JWT_ISSUER"),
        "jwt_require_exp": env.flag("JWT_REQUIRE_EXP", default.jwt_require_exp),
        "jwt_leeway": env.seconds("JWT_LEEWAY", default.jwt_leeway, minimum=0),
        "jwt_jwks_url": env.url("JWT_JWKS_URL", ("https", "http")) or "",
        "jwt_jwks_ttl": env.seconds("JWT_JWKS_TTL", default.jwt_jwks_ttl, minimum=1),
        "connect_timeout": env.seconds("CONNECT_TIMEOUT", default.connect_timeout),
        "token_grace": env.seconds("TOKEN_GRACE", default.token_grace, minimum=0),
        "auth_proxy_path": env.url_path("AUTH_PROXY_PATH", default.auth_proxy_path),
        "auth_proxy_headers": tuple(
            name.lower() for name in env.words("AUTH_PROXY_HEADERS", default.auth_proxy_headers)
        ),
        "auth_proxy_timeout": env.seconds("AUTH_PROXY_TIMEOUT", default.auth_proxy_timeout),
        "auth_proxy_cache": env.seconds("AUTH_PROXY_CACHE", default.auth_proxy_cache, minimum=0),
        "sessions": default.sessions,  # no variable: a project knows whose sessions it reads
        "session_cookie": env.label("SESSION_COOKIE", default.session_cookie),
        "session_database": "sessions" if session_database else default.session_database,
        "session_secret": env.secret("SESSION_SECRET"),
        "django_accounts": env.flag("DJANGO_ACCOUNTS", default.django_accounts),
        "worker_keys": env.keys("WORKER_KEYS"),
        "api_keys": env.keys("API_KEYS"),
        "weak_keys": weak_keys(env),
        "keys_refresh": env.seconds("KEYS_REFRESH", default.keys_refresh),
        "api_rate": env.rate("API_RATE", default.api_rate, "requests"),
        "api_burst": env.integer("API_BURST", default.api_burst),  # requests
        "query_token": env.flag("QUERY_TOKEN", default.query_token),
        "heartbeat": env.seconds("HEARTBEAT", default.heartbeat),
        "pong_timeout": env.seconds("PONG_TIMEOUT", default.pong_timeout),
        "slow_timeout": env.seconds("SLOW_TIMEOUT", default.slow_timeout),
        "close_timeout": env.seconds("CLOSE_TIMEOUT", default.close_timeout),
        "shutdown_grace": env.seconds("SHUTDOWN_GRACE", default.shutdown_grace),
        "ready_lag": env.seconds("READY_LAG", default.ready_lag, minimum=0),
        "drain_seconds": env.seconds("DRAIN_SECONDS", default.drain_seconds, minimum=0),
        "lease_ttl": env.seconds("LEASE_TTL", default.lease_ttl),
        "lease_renew": env.seconds("LEASE_RENEW", default.lease_renew),
        "presence_grace": env.seconds("PRESENCE_GRACE", default.presence_grace, minimum=0),
        "sessions_per_user": env.integer("SESSIONS_PER_USER", 0, minimum=0),
        "oldest_goes": env.choice("SESSION_LIMIT", "refuse", ("refuse", "oldest")) == "oldest",
        "client_rate": env.rate("CLIENT_RATE", default.client_rate, "frames"),
        "client_burst": env.integer("CLIENT_BURST", default.client_burst),  # frames
        "worker_rate": env.rate("WORKER_RATE", default.worker_rate, "frames"),
        "worker_burst": env.integer("WORKER_BURST", default.worker_burst),  # frames
        "user_rate": env.rate("USER_RATE", default.user_rate, "frames"),
        "user_burst": env.integer("USER_BURST", default.user_burst),  # frames
        "max_sessions": env.integer("MAX_SESSIONS", default.max_sessions),
        "sessions_per_address": env.integer(
            "SESSIONS_PER_ADDRESS", default.sessions_per_address, minimum=0
        ),
        "connect_rate": env.rate("CONNECT_RATE", default.connect_rate, "connections"),
        "connect_burst": env.integer("CONNECT_BURST", default.connect_burst),
        "node_connect_rate": env.rate(
            "NODE_CONNECT_RATE", default.node_connect_rate, "connections"
        ),
        "node_connect_burst": env.integer("NODE_CONNECT_BURST", default.node_connect_burst),
        "handshake_timeout": env.seconds("HANDSHAKE_TIMEOUT", default.handshake_timeout),
        "body_memory": env.size("BODY_MEMORY", default.body_memory),
        "max_pending": env.integer("MAX_PENDING", default.max_pending),
        "max_idle": env.integer("MAX_IDLE", default.max_idle, minimum=0),
        "keep_alive": env.seconds("KEEP_ALIVE", default.keep_alive, minimum=1),
        "max_requests": env.integer("MAX_REQUESTS", default.max_requests, minimum=0),
        "header_size": env.integer("HEADER_SIZE", default.header_size, minimum=1_024),
        "workers_per_user": env.integer("WORKERS_PER_USER", default.workers_per_user),
        "max_attached": env.integer("MAX_ATTACHED", default.max_attached),  # users of one worker
        "task_accept_timeout": env.seconds("TASK_ACCEPT_TIMEOUT", default.task_accept_timeout),
        "task_assign_timeout": env.seconds("TASK_ASSIGN_TIMEOUT", default.task_assign_timeout),
        "task_timeout": env.seconds("TASK_TIMEOUT", default.task_timeout),
        "task_grace": env.seconds("TASK_GRACE", default.task_grace),
        "task_keep": env.seconds("TASK_KEEP", default.task_keep),
        "task_history": env.integer("TASK_HISTORY", default.task_history),  # ended tasks
        "message_threads": env.integer("MESSAGE_THREADS", default.message_threads),
        "presence_threads": env.integer("PRESENCE_THREADS", default.presence_threads),
        "task_threads": env.integer("TASK_THREADS", default.task_threads),
        "redis_url": env.redis_url("REDIS_URL", redis_database),
        "layer": env.label("GATEWAY_LAYER", default.layer),
        "layer_redis_urls": env.redis_urls("LAYER_REDIS_URL"),
        "layer_prefix": env.label("LAYER_PREFIX", default.layer_prefix),
        "namespace": env.label("GATEWAY_NAMESPACE", default.namespace),
        "redis_durable": env.choice("REDIS_DURABILITY", "usual", ("usual", "always")) == "always",
        "gateway_url": env.url("GATEWAY_URL", ("https", "http")) or "",
        "gateway_key": env.secret("GATEWAY_KEY"),
        "history_size": env.integer("HISTORY_SIZE", default.history_size),  # messages per user
        "history_ttl": env.seconds("HISTORY_TTL", default.history_ttl),
        "record_ttl": env.seconds("RECORD_TTL", default.record_ttl),
        "idempotency_ttl": env.seconds("IDEMPOTENCY_TTL", default.idempotency_ttl),
        "recovery_limit": env.integer("RECOVERY_LIMIT", default.recovery_limit),  # messages
        "max_message_size": env.size("MAX_MESSAGE_SIZE", default.max_message_size),  # bytes
        "memory_max_users": env.integer("MEMORY_MAX_USERS", default.memory_max_users),
        "max_frame_size": env.size("MAX_FRAME_SIZE", default.max_frame_size),  # bytes
        "outbox_limit": env.size("OUTBOX_LIMIT", default.outbox_limit),  # bytes
        "send_buffer": env.size("SEND_BUFFER", default.send_buffer),  # bytes
        "inbound_high": env.integer("INBOUND_HIGH", default.inbound_high),  # frames
        "inbound_low": env.integer("INBOUND_LOW", default.inbound_low, minimum=0),  # frames
        "layer_capacity": env.integer("LAYER_CAPACITY", default.layer_capacity),  # messages
        "body_public": env.size("BODY_PUBLIC", default.body_public),  # bytes
        "body_demo": env.size("BODY_DEMO", default.body_demo),  # bytes
        "body_private": env.size("BODY_PRIVATE", default.body_private),  # bytes
        "body_site": env.size("BODY_SITE", default.body_site),  # bytes
        "recorder_queue": env.integer("RECORDER_QUEUE", default.recorder_queue),  # rows
        "recorder_interval": env.seconds("RECORDER_INTERVAL", default.recorder_interval),
        "history": env.flag("SESSION_HISTORY", default.history),
        "session_keep": env.seconds("SESSION_KEEP", default.session_keep, minimum=0),
        "webhooks": env.choices("WEBHOOKS", default.webhooks, WEBHOOK_EVENTS),
        "webhook_path": env.url_path("WEBHOOK_PATH", default.webhook_path),
        "webhook_secret": env.secret("WEBHOOK_SECRET", at_least=32),
        "webhook_queue": env.integer("WEBHOOK_QUEUE", default.webhook_queue),  # events
        "webhook_timeout": env.seconds("WEBHOOK_TIMEOUT", default.webhook_timeout),
    }
