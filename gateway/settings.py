"""Django's settings; the only reader of the environment beside `sockets.environment`.

What each variable means is in docs/reference/settings.md. The process' own environment wins over
the file `.env` (or the one that `ENV_FILE` names). What is wrong is noted, and raised in the end as
one `WrongSettings`; `manage.py` turns that into a line for each fault and exit code 1. Until then
nothing is written.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from sockets.base.hosts import hosts_of
from sockets.conf import Conf, environment_of
from sockets.environment import Variables, gather, judge
from sockets.layers.chosen import own_layer
from sockets.logs import LEVELS, logging_config
from sockets.variables.databases import is_sqlite, sqlite
from sockets.variables.faults import Wrong
from sockets.variables.files import kept_secret, make_folder, no_folder

BASE_DIR = Path(__file__).resolve().parent.parent

_file = Path(os.environ.get("ENV_FILE", "").strip() or BASE_DIR / ".env")
if "ENV_FILE" in os.environ and not _file.exists():
    raise Wrong("ENV_FILE", f"there is no file {str(_file)!r}", "unset it or name another")
_env = Variables(os.environ, _file if _file.exists() else None, base=BASE_DIR, patient=True)

LOG_LEVEL = _env.choice("LOG_LEVEL", "info", LEVELS)
GATEWAY: dict[str, Any] = {"environment": "development"} | gather(_env)
DEBUG = _env.flag("DEBUG", GATEWAY["environment"] == "development")
GATEWAY["environment"] = environment_of(GATEWAY["environment"], DEBUG)
if not _env.given("BODY_SITE"):
    GATEWAY["body_site"] = GATEWAY["body_private"]  # of this project's site that is the admin
GATEWAY["sessions"] = "tables"  # this project's own sessions are the admin's
PRODUCTION = GATEWAY["environment"] == "production"
if not GATEWAY["auth"] and not PRODUCTION:
    GATEWAY["auth"] = ("insecure",)
SECRET_KEY = _env.secret("SECRET_KEY")
# A node judges all this when it starts; every command of this project shall know of it.
judge(_env, GATEWAY, secrets=["SECRET_KEY"])
if PRODUCTION:
    if DEBUG:
        _env.note(Wrong("DEBUG", "it shows the inside of errors", "unset it in production"))
    if not SECRET_KEY:
        _env.note(Wrong("SECRET_KEY", "production needs one", "set it to: openssl rand -hex 32"))

# What the gateway would make for itself, so that plain Channels code in it has the same one.
_of_layer = ("redis_url", "layer_redis_urls", "layer_prefix", "layer_capacity")
CHANNEL_LAYERS: dict[str, Any] = {
    "default": own_layer(Conf(**{name: GATEWAY[name] for name in _of_layer}))
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
    "servestatic",  # its checks
    # Not daphne: as an app it imports its reactor too early, and `serve` would begin twice.
    "sockets",
    "gateway",
    *(["examples.image_converter", "examples.bell"] if GATEWAY["demo"] else []),
]
MIDDLEWARE = [
    "sockets.http.middleware.headers.HeadersMiddleware",
    "gateway.middleware.SurfaceMiddleware",
    "sockets.http.middleware.forms.FormMiddleware",
    "sockets.http.middleware.static.StaticMiddleware",
    "gateway.middleware.AdminSessionMiddleware",
    "gateway.middleware.AdminLocaleMiddleware",
    "gateway.middleware.AdminAuthenticationMiddleware",
    "gateway.middleware.AdminMessageMiddleware",
]
ASGI_APPLICATION = "gateway.asgi.application"
ROOT_URLCONF = "gateway.urls_public"  # the private one only where the surface is known
PRIVATE_URLCONF = "gateway.urls_private"
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
LANGUAGES = [("en", "English"), ("ko", "한국어")]  # of the admin and the demo, by Accept-Language
FORMAT_MODULE_PATH = "gateway.formats"
APPEND_SLASH = True  # inside the admin, which sees to it itself

_own_file = sqlite(str(GATEWAY["data_dir"] / "gateway.sqlite3"))
DATABASES = {"default": _env.database("DATABASE_URL") or _own_file}
if (_sessions := _env.database("SESSION_DATABASE_URL")) is not None:
    DATABASES["sessions"] = _sessions  # the API server's: read, never migrated
_env.note(*no_folder(GATEWAY["data_dir"]))
for _url, _alias in (("DATABASE_URL", "default"), ("SESSION_DATABASE_URL", "sessions")):
    if _env.given(_url) and _alias in DATABASES and is_sqlite(DATABASES[_alias]):
        _env.note(*no_folder(Path(DATABASES[_alias]["NAME"]).parent, _url))

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
CSRF_FAILURE_VIEW = "sockets.http.pages.csrf_failure"
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

_env.refuse()  # all that is wrong; only after this line is anything written

for _database in filter(is_sqlite, DATABASES.values()):
    make_folder(Path(_database["NAME"]).parent)
if not SECRET_KEY:
    SECRET_KEY = kept_secret(GATEWAY["data_dir"] / "secret_key")

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

LOGGING_CONFIG = "sockets.logs.configure"
LOGGING = logging_config(LEVELS[LOG_LEVEL], json=PRODUCTION)
SILENCED_SYSTEM_CHECKS: list[str] = []
VARIABLES = frozenset(_env.names | {"ENV_FILE"})  # the tests hold the documents to it
