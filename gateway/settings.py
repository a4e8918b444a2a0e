"""Django's settings; the only reader of the environment.

One line a variable, its unit beside it; what each means is in docs/reference/settings.md. The
process' own environment wins over the file `.env` (or the one that `ENV_FILE` names). What is wrong
is noted, and raised in the end as one `WrongSettings`; `manage.py` turns that into a line for each
fault and exit code 1. Until then nothing is written.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from gateway.logs import LEVELS, logging_config
from sockets.conf import WEBHOOK_EVENTS, Conf, WrongSettings
from sockets.types import Surface
from sockets.variables import secrets
from sockets.variables.env import CLUSTER, Env, hosts_of, redis_database
from sockets.variables.faults import Wrong, unusable_keys

BASE_DIR = Path(__file__).resolve().parent.parent

_file = Path(os.environ.get("ENV_FILE", "").strip() or BASE_DIR / ".env")
if "ENV_FILE" in os.environ and not _file.exists():
    raise Wrong("ENV_FILE", f"there is no file {str(_file)!r}", "unset it or name another")
_env = Env(os.environ, _file if _file.exists() else None, patient=True)
_default = Conf()

# --- What this process is -------------------------------------------------------------------

_ENVIRONMENTS = ("development", "test", "production")
_NODE_ENV = _env.choice("NODE_ENV", "development", _ENVIRONMENTS)  # the Node service's name for it
ENVIRONMENT = _env.choice("ENVIRONMENT", _NODE_ENV, _ENVIRONMENTS)
PRODUCTION = ENVIRONMENT == "production"
_YEAR = 365 * 86_400  # seconds
LOG_LEVEL = _env.choice("LOG_LEVEL", "info", LEVELS)
DEBUG = _env.flag("DEBUG", False)
_DEMO = _env.flag("DEMO", False)
_SURFACE = Surface(_env.choice("SURFACE", Surface.PUBLIC, Surface))
_DATA_DIR = _env.path("DATA_DIR", BASE_DIR / "var", base=BASE_DIR)
_NODE_NAME = _env.label("NODE_NAME", socket.gethostname() or "gateway")

# --- Who may enter --------------------------------------------------------------------------

_JWT_SECRET = _env.secret("JWT_SECRET")  # HS256: at least 32 bytes
_JWT_SECRETS = _env.labelled_secrets("JWT_SECRETS", at_least=32)
_JWT_PUBLIC_KEYS = _env.labelled_files("JWT_PUBLIC_KEYS", base=BASE_DIR)
_JWKS_URL = _env.url("JWT_JWKS_URL", ("https", "http")) or ""
_JWT_KEYS = ("JWT_SECRET", "JWT_SECRETS", "JWT_PUBLIC_KEYS", "JWT_JWKS_URL")
_HAS_JWT = any(map(_env.given, _JWT_KEYS))  # if only a wrong one
_AUTH_DEFAULT = ("jwt",) if _HAS_JWT else () if PRODUCTION else ("insecure",)
_AUTH = _env.choices("AUTH", _AUTH_DEFAULT, ("jwt", "session", "proxy", "insecure"))
_CLIENT_ORIGINS = _env.origins("CLIENT_ORIGIN", below=True)
_API_ORIGINS = _env.origins("API_ORIGIN", below=True)
if "*" in _API_ORIGINS:
    _env.note(Wrong("API_ORIGIN", "* would let every page read answers", "list the pages' origins"))
if not _AUTH:
    _env.note(
        Wrong("AUTH", "production has no default for it", "set JWT_SECRET, or AUTH=jwt with it")
    )
if "jwt" in _AUTH:
    if not _HAS_JWT:
        _env.note(
            Wrong("JWT_SECRET", "AUTH has jwt, and there is no secret", "set it (>= 32 bytes)")
        )
    _env.secret("JWT_SECRET", at_least=32)
    _env.note(*unusable_keys(_JWT_PUBLIC_KEYS))
if _DEMO and not PRODUCTION and not ("jwt" in _AUTH and _env.given("JWT_SECRET")):
    _env.note(
        Wrong(
            "DEMO",
            "its page connects with tokens",
            "set JWT_SECRET (scripts/run does)",
            also=["AUTH"],
        )
    )
SECRET_KEY = _env.secret("SECRET_KEY", at_least=32 if PRODUCTION else 0)
if PRODUCTION:
    if _JWKS_URL.startswith("http:"):
        _env.note(Wrong("JWT_JWKS_URL", "keys that came without TLS are anybody's", "use https"))
    _env.note(
        *secrets.unsafe_in_production(
            auth=_AUTH, origins=_CLIENT_ORIGINS, surface=_SURFACE, debug=DEBUG, demo=_DEMO
        )
    )
    if not SECRET_KEY:
        _env.note(Wrong("SECRET_KEY", "production needs one", "set it to: openssl rand -hex 32"))
    _env.note(*secrets.weak(_env))

# --- Redis mode: with REDIS_URL; without it everything lives in this process ------------------

_REDIS_DB = _env.integer("REDIS_DB", 0, minimum=0, maximum=65535)
_REDIS_URL = _env.redis_url("REDIS_URL", _REDIS_DB) or ""
_LAYER_REDIS_URLS = _env.redis_urls("LAYER_REDIS_URL")
if _LAYER_REDIS_URLS and not _REDIS_URL:
    _env.note(
        Wrong(
            "LAYER_REDIS_URL",
            "it is set without REDIS_URL",
            "set both, or none",
            also=["REDIS_URL"],
        )
    )
if any(url.startswith(CLUSTER) for url in _LAYER_REDIS_URLS or (_REDIS_URL,)):
    _env.note(
        Wrong(
            "LAYER_REDIS_URL", "the channel layer does not run on a Cluster", "name another server"
        )
    )
# Redis' pub/sub knows no database numbers, so the prefix has to part them.
_database_number = redis_database(_REDIS_URL)
_PREFIX_DEFAULT = f"asgi.{_database_number}" if _database_number else "asgi"
_LAYER_PREFIX = _env.label("LAYER_PREFIX", _PREFIX_DEFAULT)
_NAMESPACE = _env.label("GATEWAY_NAMESPACE", _default.namespace)
_DURABILITY = _env.choice("REDIS_DURABILITY", "usual", ("usual", "always"))

# --- The API server's sessions: AUTH=session ---------------------------------------------------

_SESSION_DATABASE = _env.database("SESSION_DATABASE_URL")

# --- The gateway: the keys of sockets.conf.Conf ----------------------------------------------

GATEWAY: dict[str, Any] = {
    "environment": ENVIRONMENT,
    "data_dir": _DATA_DIR,
    "node_name": _NODE_NAME,
    "surface": _SURFACE,
    "demo": _DEMO,
    "client_port": _env.port("CLIENT_SOCKET_PORT", _default.client_port),
    "worker_port": _env.port("WORKER_SOCKET_PORT", _default.worker_port),
    "client_socket_url": _env.url("CLIENT_SOCKET_URL", ("wss", "ws")),
    "worker_socket_url": _env.url("WORKER_SOCKET_URL", ("wss", "ws")),
    "api_server_url": _env.url("API_SERVER_URL", ("https", "http")),
    "client_origins": _CLIENT_ORIGINS,
    "trusted_proxies": _env.proxies("TRUSTED_PROXIES"),
    "api_origins": _API_ORIGINS,
    "hsts_seconds": _env.integer("HSTS_SECONDS", _YEAR if PRODUCTION else 0, minimum=0),
    "auth": _AUTH,
    "jwt_secret": _JWT_SECRET,
    "jwt_secrets": _JWT_SECRETS,
    "jwt_public_keys": _JWT_PUBLIC_KEYS,
    "jwt_audience": _env.words("JWT_AUDIENCE"),
    "jwt_issuer": _env.words("JWT_ISSUER"),
    "jwt_require_exp": _env.flag("JWT_REQUIRE_EXP", _default.jwt_require_exp),
    "jwt_leeway": _env.seconds("JWT_LEEWAY", _default.jwt_leeway, minimum=0),
    "jwt_jwks_url": _JWKS_URL,
    "jwt_jwks_ttl": _env.seconds("JWT_JWKS_TTL", _default.jwt_jwks_ttl, minimum=1),
    "connect_timeout": _env.seconds("CONNECT_TIMEOUT", _default.connect_timeout),
    "token_grace": _env.seconds("TOKEN_GRACE", _default.token_grace, minimum=0),
    "auth_proxy_path": _env.url_path("AUTH_PROXY_PATH", _default.auth_proxy_path),
    "auth_proxy_headers": tuple(
        name.lower() for name in _env.words("AUTH_PROXY_HEADERS", _default.auth_proxy_headers)
    ),
    "auth_proxy_timeout": _env.seconds("AUTH_PROXY_TIMEOUT", _default.auth_proxy_timeout),
    "auth_proxy_cache": _env.seconds("AUTH_PROXY_CACHE", _default.auth_proxy_cache, minimum=0),
    "session_cookie": _env.label("SESSION_COOKIE", _default.session_cookie),
    "session_database": "default" if _SESSION_DATABASE is None else "sessions",
    "session_secret": _env.secret("SESSION_SECRET"),
    "django_accounts": _env.flag("DJANGO_ACCOUNTS", _default.django_accounts),
    "worker_keys": _env.keys("WORKER_KEYS"),
    "api_keys": _env.keys("API_KEYS"),
    "keys_refresh": _env.seconds("KEYS_REFRESH", _default.keys_refresh),
    "api_rate": _env.seconds("API_RATE", _default.api_rate, minimum=0),  # requests a second
    "api_burst": _env.integer("API_BURST", _default.api_burst),  # requests
    "query_token": _env.flag("QUERY_TOKEN", _default.query_token),
    "heartbeat": _env.seconds("HEARTBEAT", _default.heartbeat),
    "pong_timeout": _env.seconds("PONG_TIMEOUT", _default.pong_timeout),
    "slow_timeout": _env.seconds("SLOW_TIMEOUT", _default.slow_timeout),
    "close_timeout": _env.seconds("CLOSE_TIMEOUT", _default.close_timeout),
    "shutdown_grace": _env.seconds("SHUTDOWN_GRACE", _default.shutdown_grace),
    "ready_lag": _env.seconds("READY_LAG", _default.ready_lag, minimum=0),
    "drain_seconds": _env.seconds("DRAIN_SECONDS", _default.drain_seconds, minimum=0),
    "lease_ttl": _env.seconds("LEASE_TTL", _default.lease_ttl),
    "lease_renew": _env.seconds("LEASE_RENEW", _default.lease_renew),
    "presence_grace": _env.seconds("PRESENCE_GRACE", _default.presence_grace, minimum=0),
    "sessions_per_user": _env.integer("SESSIONS_PER_USER", 0, minimum=0),
    "oldest_goes": _env.choice("SESSION_LIMIT", "refuse", ("refuse", "oldest")) == "oldest",
    "client_rate": _env.seconds("CLIENT_RATE", _default.client_rate, minimum=0),  # frames a second
    "client_burst": _env.integer("CLIENT_BURST", _default.client_burst),  # frames
    "worker_rate": _env.seconds("WORKER_RATE", _default.worker_rate, minimum=0),  # frames a second
    "worker_burst": _env.integer("WORKER_BURST", _default.worker_burst),  # frames
    "user_rate": _env.seconds("USER_RATE", _default.user_rate, minimum=0),  # frames a second
    "user_burst": _env.integer("USER_BURST", _default.user_burst),  # frames
    "max_sessions": _env.integer("MAX_SESSIONS", _default.max_sessions),
    "sessions_per_address": _env.integer(
        "SESSIONS_PER_ADDRESS", _default.sessions_per_address, minimum=0
    ),
    "connect_rate": _env.seconds("CONNECT_RATE", _default.connect_rate, minimum=0),  # a second
    "connect_burst": _env.integer("CONNECT_BURST", _default.connect_burst),
    "node_connect_rate": _env.seconds("NODE_CONNECT_RATE", _default.node_connect_rate, minimum=0),
    "node_connect_burst": _env.integer("NODE_CONNECT_BURST", _default.node_connect_burst),
    "handshake_timeout": _env.seconds("HANDSHAKE_TIMEOUT", _default.handshake_timeout),
    "body_memory": _env.size("BODY_MEMORY", _default.body_memory),
    "max_pending": _env.integer("MAX_PENDING", _default.max_pending),
    "max_idle": _env.integer("MAX_IDLE", _default.max_idle, minimum=0),
    "keep_alive": _env.seconds("KEEP_ALIVE", _default.keep_alive, minimum=1),
    "max_requests": _env.integer("MAX_REQUESTS", _default.max_requests, minimum=0),
    "header_size": _env.integer("HEADER_SIZE", _default.header_size, minimum=1_024),
    "workers_per_user": _env.integer("WORKERS_PER_USER", _default.workers_per_user),
    "max_attached": _env.integer("MAX_ATTACHED", _default.max_attached),  # users of one worker
    "task_accept_timeout": _env.seconds("TASK_ACCEPT_TIMEOUT", _default.task_accept_timeout),
    "task_assign_timeout": _env.seconds("TASK_ASSIGN_TIMEOUT", _default.task_assign_timeout),
    "task_timeout": _env.seconds("TASK_TIMEOUT", _default.task_timeout),
    "task_grace": _env.seconds("TASK_GRACE", _default.task_grace),
    "task_keep": _env.seconds("TASK_KEEP", _default.task_keep),
    "task_history": _env.integer("TASK_HISTORY", _default.task_history),  # ended tasks
    "message_threads": _env.integer("MESSAGE_THREADS", _default.message_threads),
    "presence_threads": _env.integer("PRESENCE_THREADS", _default.presence_threads),
    "task_threads": _env.integer("TASK_THREADS", _default.task_threads),
    "redis_url": _REDIS_URL,
    "layer_redis_urls": _LAYER_REDIS_URLS,
    "namespace": _NAMESPACE,
    "redis_durable": _DURABILITY == "always",
    "history_size": _env.integer("HISTORY_SIZE", _default.history_size),  # messages per user
    "history_ttl": _env.seconds("HISTORY_TTL", _default.history_ttl),
    "record_ttl": _env.seconds("RECORD_TTL", _default.record_ttl),
    "idempotency_ttl": _env.seconds("IDEMPOTENCY_TTL", _default.idempotency_ttl),
    "recovery_limit": _env.integer("RECOVERY_LIMIT", _default.recovery_limit),  # messages
    "max_message_size": _env.size("MAX_MESSAGE_SIZE", _default.max_message_size),  # bytes
    "memory_max_users": _env.integer("MEMORY_MAX_USERS", _default.memory_max_users),
    "max_frame_size": _env.size("MAX_FRAME_SIZE", _default.max_frame_size),  # bytes
    "outbox_limit": _env.size("OUTBOX_LIMIT", _default.outbox_limit),  # bytes
    "send_buffer": _env.size("SEND_BUFFER", _default.send_buffer),  # bytes
    "inbound_high": _env.integer("INBOUND_HIGH", _default.inbound_high),  # frames
    "inbound_low": _env.integer("INBOUND_LOW", _default.inbound_low, minimum=0),  # frames
    "layer_capacity": _env.integer("LAYER_CAPACITY", _default.layer_capacity),  # messages
    "body_public": _env.size("BODY_PUBLIC", _default.body_public),  # bytes
    "body_demo": _env.size("BODY_DEMO", _default.body_demo),  # bytes
    "body_private": _env.size("BODY_PRIVATE", _default.body_private),  # bytes
    "recorder_queue": _env.integer("RECORDER_QUEUE", _default.recorder_queue),  # rows
    "recorder_interval": _env.seconds("RECORDER_INTERVAL", _default.recorder_interval),
    "webhooks": _env.choices("WEBHOOKS", _default.webhooks, WEBHOOK_EVENTS),
    "webhook_path": _env.url_path("WEBHOOK_PATH", _default.webhook_path),
    "webhook_secret": _env.secret("WEBHOOK_SECRET", at_least=32),
    "webhook_queue": _env.integer("WEBHOOK_QUEUE", _default.webhook_queue),  # events
    "webhook_timeout": _env.seconds("WEBHOOK_TIMEOUT", _default.webhook_timeout),
}
if GATEWAY["client_port"] == GATEWAY["worker_port"] != 0:
    _env.note(
        Wrong(
            "WORKER_SOCKET_PORT",
            "it equals CLIENT_SOCKET_PORT",
            "choose another, or 0",
            also=["CLIENT_SOCKET_PORT"],
        )
    )
try:
    Conf(**GATEWAY)
except WrongSettings as _error:
    _env.note(*_error.faults)

CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "sockets.layers.memory.MemoryChannelLayer",
        "CONFIG": {"capacity": GATEWAY["layer_capacity"]},
    }
}
if _REDIS_URL:
    CHANNEL_LAYERS["default"]["BACKEND"] = "sockets.layers.redis.RedisChannelLayer"
    CHANNEL_LAYERS["default"]["CONFIG"] |= {
        "hosts": list(_LAYER_REDIS_URLS or (_REDIS_URL,)),
        "prefix": _LAYER_PREFIX,
    }

# --- Django ---------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "ninja",  # its page of the API's documents, without a foreign host
    # Not daphne: as an app it imports its reactor too early, and uvloop is lost.
    "sockets",
    "gateway",
    *(["examples.image_converter"] if _DEMO else []),
]
MIDDLEWARE = [
    "gateway.headers.HeadersMiddleware",
    "gateway.middleware.SurfaceMiddleware",
    "gateway.cors.CorsMiddleware",
    "gateway.middleware.ProblemMiddleware",
    "gateway.middleware.StaticMiddleware",
    "gateway.middleware.AdminSessionMiddleware",
    "gateway.middleware.AdminAuthenticationMiddleware",
    "gateway.middleware.AdminMessageMiddleware",
]
ASGI_APPLICATION = "gateway.asgi.application"
ROOT_URLCONF = "gateway.urls_public"  # the private one only where the surface is known
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# The server has cut longer bodies by then, by surface.
DATA_UPLOAD_MAX_MEMORY_SIZE = GATEWAY["body_private"]
# No body becomes a temporary file: the root may be read-only.
FILE_UPLOAD_MAX_MEMORY_SIZE = max(
    GATEWAY["body_public"], GATEWAY["body_private"], GATEWAY["body_demo"]
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
USE_TZ = True
TIME_ZONE = _env.time_zone("TIME_ZONE", "UTC")  # of the admin's pages
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "gateway.formats"
APPEND_SLASH = True  # inside the admin, which sees to it itself


def _tuned(database: dict[str, Any]) -> dict[str, Any]:
    """With what the gateway needs of every database."""
    if database["ENGINE"].endswith("sqlite3"):
        # Without these four, concurrent writers see "database is locked".
        database["OPTIONS"] = {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        }
        # A file, because threads that share an in-memory database do not wait for each other's
        # locks.
        database["TEST"] = {"NAME": str(Path(database["NAME"]).with_name("test.sqlite3"))}
        return database
    database |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}  # seconds
    # Without these a server whose machine is gone would be waited for, for minutes or for ever.
    # What DATABASE_URL says (?connect_timeout=9) wins. No statement_timeout: closing all that a
    # dead node left open may take long, and PgBouncer refuses the option.
    database["OPTIONS"] = {
        "connect_timeout": 5,  # seconds
        "keepalives_idle": 10,  # seconds of silence until it is asked whether it is there,
        "keepalives_interval": 5,  # seconds between two questions,
        "keepalives_count": 3,  # unanswered ones until the connection is given up
        "tcp_user_timeout": 15_000,  # milliseconds that what was sent may wait for its receipt
        **database.get("OPTIONS", {}),
    }
    return database


_database = _env.database("DATABASE_URL")
_env.note(*secrets.no_folder(_DATA_DIR))
DATABASES = {
    "default": _tuned(
        _database
        or {"ENGINE": "django.db.backends.sqlite3", "NAME": str(_DATA_DIR / "gateway.sqlite3")}
    )
}
if _SESSION_DATABASE is not None:
    DATABASES["sessions"] = _tuned(_SESSION_DATABASE)  # the API server's: read, never migrated

for _url, _alias in (("DATABASE_URL", "default"), ("SESSION_DATABASE_URL", "sessions")):
    _described: dict[str, Any] = DATABASES.get(_alias, {})
    if _env.given(_url) and _described.get("ENGINE", "").endswith("sqlite3"):
        _env.note(*secrets.no_folder(Path(_described["NAME"]).parent, _url))

# The admin lives on the private surface; its cookies reach all ports of a host, so they have
# their own names and path, and nothing else reads them.
_SECURE_COOKIES = _env.flag("SECURE_COOKIES", PRODUCTION)
SESSION_COOKIE_NAME = "gateway_admin_session"
if GATEWAY["session_cookie"] == SESSION_COOKIE_NAME:
    _env.note(Wrong("SESSION_COOKIE", "it is the cookie of the admin", "name the API server's"))
SESSION_COOKIE_PATH = "/admin/"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = _SECURE_COOKIES
CSRF_COOKIE_NAME = "gateway_admin_csrf"
CSRF_COOKIE_PATH = "/admin/"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = _SECURE_COOKIES
CSRF_FAILURE_VIEW = "gateway.views.csrf_failure"
CSRF_TRUSTED_ORIGINS = list(_env.origins("CSRF_TRUSTED_ORIGINS"))
if "*" in CSRF_TRUSTED_ORIGINS:
    _env.note(Wrong("CSRF_TRUSTED_ORIGINS", "* would trust every page", "list the admin's origins"))
X_FRAME_OPTIONS = "DENY"

_HOSTS_DEFAULT = (
    *("localhost", ".localhost", "127.0.0.1", "[::1]", socket.gethostname()),
    *hosts_of(GATEWAY["client_socket_url"], GATEWAY["worker_socket_url"]),
)
ALLOWED_HOSTS = [host.lower() for host in _env.words("ALLOWED_HOSTS", _HOSTS_DEFAULT)]
if PRODUCTION and "*" in ALLOWED_HOSTS:
    _env.note(Wrong("ALLOWED_HOSTS", "* takes every name for ours", "list the gateway's names"))

_env.refuse()  # all that is wrong; behind this line things are written

for _described in DATABASES.values():
    if _described["ENGINE"].endswith("sqlite3"):
        secrets.make_folder(Path(_described["NAME"]).parent)
if not SECRET_KEY:
    SECRET_KEY = secrets.kept(_DATA_DIR / "secret_key")

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
if PRODUCTION:  # hashed names, collected once; elsewhere straight from the apps
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"},
    }
SERVESTATIC_USE_FINDERS = not PRODUCTION
SERVESTATIC_USE_MANIFEST = PRODUCTION
SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_ALLOW_ALL_ORIGINS = False

LOGGING_CONFIG = "gateway.logs.configure"
LOGGING = logging_config(LEVELS[LOG_LEVEL], json=PRODUCTION)
SILENCED_SYSTEM_CHECKS: list[str] = []
VARIABLES = frozenset(_env.names | {"ENV_FILE"})  # the tests hold the documents to it
