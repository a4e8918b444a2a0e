"""The settings of the gateway, typed: one frozen value, read once from Django's `GATEWAY`.

Durations are seconds, sizes are bytes. `sockets.environment.read()` makes the dictionary from
environment variables; a project may also write it by hand, and what it leaves out has the default
below. Why a node would not start with them, `sockets.safety` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from sockets.base import under_test
from sockets.base.client_address import Trusted
from sockets.base.contradictions import contradictions
from sockets.base.faults import Fault as Fault
from sockets.base.faults import WrongSettings as WrongSettings
from sockets.base.forms import formed
from sockets.types import Surface

OVERLAP: Final = 5.0
"""Seconds that a client's socket outlives the moment at which it should be back elsewhere."""

SESSION_COOKIE: Final = "sessionid"
"""Django's own name for the cookie of a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """Every setting of the gateway. Field order is the order of docs/reference/settings.md."""

    environment: str = "development"  # a project's own: as `environment_of` has it
    data_dir: Path = Path("var")
    node_name: str = "gateway"
    surface: Surface = Surface.PUBLIC  # of a port that is not ours: uvicorn, plain daphne
    demo: bool = False

    # Addresses. None: derived from the port that is really listened on.
    client_port: int = 4000
    worker_port: int = 4001
    client_socket_url: str | None = None
    worker_socket_url: str | None = None
    api_server_url: str | None = None
    client_origins: tuple[str, ...] = ()  # "scheme://[*.]host[:port]", or "*"
    client_paths: tuple[str, ...] = ("/", "/ws/client")  # of sockets, on the public surface ...
    worker_paths: tuple[str, ...] = ("/", "/ws/worker")  # ... and on the private one
    api_path: str = "/api/v1/"  # what the HTTP API's paths begin with
    trusted_proxies: Trusted = field(default_factory=Trusted)  # whose X-Forwarded-For is believed
    api_origins: tuple[str, ...] = ()  # pages that may call the HTTP API; never "*"
    hsts_seconds: int = 0  # that browsers insist on TLS, of surfaces that have it; 0: not sent

    # Who may enter.
    auth: tuple[str, ...] = ()  # out of AUTH_METHODS; no default: nobody comes in by oversight
    jwt_secret: str = field(default="", repr=False)
    jwt_secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # (kid, secret)
    jwt_public_keys: tuple[tuple[str, str], ...] = ()  # (kid or "", PEM)
    jwt_audience: tuple[str, ...] = ()  # one of these must be in `aud`; (): whatever it says
    jwt_issuer: tuple[str, ...] = ()
    jwt_leeway: float = 10.0  # that two clocks may differ
    jwt_require_exp: bool = True  # a token that does not say when it ends is refused
    jwt_jwks_url: str = ""  # where the issuer publishes its keys
    jwt_jwks_ttl: float = 600.0  # between two fetches of them
    connect_timeout: float = 10.0  # for the first frame of a client that has its token in there
    token_grace: float = 10.0  # from a token's end until its socket is closed (4003)
    auth_proxy_path: str = "/gateway/auth"  # of the API server, which is asked who a client is
    auth_proxy_headers: tuple[str, ...] = (
        "authorization",
        "cookie",
    )  # what it is shown; lower case
    auth_proxy_timeout: float = 3.0
    auth_proxy_cache: float = 5.0  # that an answer counts
    sessions: str = "project"  # AUTH=session: whose: this project's, or another's "tables" ...
    session_cookie: str = SESSION_COOKIE  # ... of which this is the cookie; ours has its own name
    session_database: str = "default"  # "tables": an alias of DATABASES that has them ...
    session_secret: str = field(default="", repr=False)  # ... their SECRET_KEY; "": ours
    django_accounts: bool | None = None  # its users are ours; None: where `sessions` are its own
    worker_keys: dict[str, str] = field(default_factory=dict, repr=False)  # name -> SHA-256, hex
    api_keys: dict[str, str] = field(default_factory=dict, repr=False)
    weak_keys: tuple[str, ...] = ()  # a line for each of them that production refuses
    keys_refresh: float = 10.0  # between two readings of the database's keys
    api_rate: float = 200.0  # requests a second of one key; 0: any number
    api_burst: int = 400  # requests
    query_token: bool = False  # ?token= is allowed; URLs are logged, so no by default

    # Connections.
    heartbeat: float = 25.0  # between two pings
    pong_timeout: float = 10.0
    slow_timeout: float = 10.0  # a socket that drains no byte this long is closed 4002
    close_timeout: float = 5.0  # for the peer's half of the closing handshake
    shutdown_grace: float = 10.0  # from SIGTERM until what is left is cancelled
    ready_lag: float = 5.0  # not ready, and still accepting: balancers need to notice
    drain_seconds: float = 20.0  # clients of a node that goes return spread over this long
    lease_ttl: float = 30.0
    lease_renew: float = 10.0
    presence_grace: float = 10.0  # from the last session's end until the user is offline
    sessions_per_user: int = 0  # 0: any number
    oldest_goes: bool = False  # above that: the oldest is closed, else the newest refused (4505)
    client_rate: float = 50.0  # frames a second of one client; 0: any number
    client_burst: int = 200  # ... and how many at once
    worker_rate: float = 1_000.0
    worker_burst: int = 2_000
    user_rate: float = 200.0  # frames a second of all clients of one user on a node; 0: any number
    user_burst: int = 800
    max_sessions: int = 20_000  # of one node; then 1013
    sessions_per_address: int = 1_000  # clients of one address on a node, then 1013; 0: any number
    connect_rate: float = 20.0  # clients' handshakes a second of one address; 0: any number
    connect_burst: int = 200
    node_connect_rate: float = 1_000.0  # ... and of a node
    node_connect_burst: int = 5_000
    handshake_timeout: float = 10.0  # from the first byte to the end of a request's head
    body_memory: int = 268_435_456  # bytes of bodies that a port holds at once
    max_pending: int = 1_000  # connections of a node whose request is not here yet
    max_idle: int = 1_000  # HTTP connections of a port, kept without a request; 0: any number
    keep_alive: float = 90.0  # that an HTTP connection is kept without a request
    max_requests: int = 1_000  # HTTP requests at once; 0: any number
    header_size: int = 16_384  # of a request's line and headers together
    workers_per_user: int = 100  # attached to one user on a node
    max_attached: int = 1_000  # users that one worker may be attached to

    # Tasks.
    task_accept_timeout: float = 5.0  # for the offered worker; then the next one is asked
    task_assign_timeout: float = 15.0  # for all of them together
    task_timeout: float = 300.0  # that a running task may be silent; then it is lost
    task_grace: float = 30.0  # for a worker that is away to come back to its tasks
    task_keep: float = 3600.0  # that an ended task can be asked for ...
    task_history: int = 1_000  # ... and how many of them

    # Threads of Django's receivers; each may hold a database connection.
    message_threads: int = 4  # of client_message
    presence_threads: int = 4  # of who comes and goes
    task_threads: int = 4  # of ends of tasks

    # Redis: "" is memory mode.
    redis_url: str = field(default="", repr=False)
    layer: str | None = None  # an alias of CHANNEL_LAYERS that is ours: sockets/layers/chosen.py
    layer_redis_urls: tuple[str, ...] = field(default=(), repr=False)  # (): the same server
    layer_prefix: str | None = None  # of channels; None: the project's stock layer's, or "asgi"
    namespace: str = "gw"  # of keys
    redis_durable: bool = False  # it never loses what it has acknowledged

    # Another process' gateway, for one that shares no Redis with it. "": none.
    gateway_url: str = ""  # its private port, as http://gateway.internal:4001
    gateway_key: str = field(default="", repr=False)  # a secret of a key with the scope `call`

    # Messages and streams.
    history_size: int = 1_000  # messages per user
    history_ttl: float = 24 * 3600.0
    record_ttl: float = 30 * 24 * 3600.0
    idempotency_ttl: float = 300.0
    recovery_limit: int = 1_000  # messages replayed to one returning session
    max_message_size: int = 64 * 1024  # of an encoded notification
    memory_max_users: int = 100_000  # streams kept in memory mode; the longest unused goes first

    # Buffers.
    max_frame_size: int = 64 * 1024  # inbound; above: 1009
    outbox_limit: int = 64 * 1024  # outbound bytes waiting for one session
    send_buffer: int = 64 * 1024  # SO_SNDBUF: what the kernel may hide
    inbound_high: int = 64  # queued frames at which the socket is not read any more
    inbound_low: int = 16  # ... and at which it is read again
    layer_capacity: int = 100  # messages waiting in one queue of the channel layer
    body_public: int = 64 * 1024
    body_demo: int = 20 * 1024 * 1024
    body_private: int = 8 * 1024 * 1024
    body_site: int = 32 * 1024 * 1024  # of the project's own site, behind our server
    recorder_queue: int = 50_000  # rows waiting for the database
    recorder_interval: float = 0.5  # between two batches
    history: bool = True  # rows of sessions and nodes; keys need their table anyway
    session_keep: float = 90 * 24 * 3600.0  # that rows of ended sessions are kept; 0: for ever

    # Webhooks: events that go to the API server.
    webhooks: tuple[str, ...] = ()  # out of WEBHOOK_EVENTS
    webhook_path: str = "/gateway/events"
    webhook_secret: str = field(default="", repr=False)
    webhook_queue: int = 10_000  # events waiting for the API server
    webhook_timeout: float = 5.0  # of one request

    def __post_init__(self) -> None:
        if faults := tuple(contradictions(self)):
            raise WrongSettings(*faults)

    @property
    def overlap(self) -> float:
        """How long a client's socket lives on a node that drains after the client should be back
        elsewhere, in seconds."""
        return min(OVERLAP, self.drain_seconds)

    @property
    def follows_accounts(self) -> bool:
        """Whether what happens to the users of this Django project happens to their sockets."""
        if self.django_accounts is None:
            return self.reads_own_sessions
        return self.django_accounts

    @property
    def reads_own_sessions(self) -> bool:
        """Whether clients prove who they are by the sessions of this Django project."""
        return "session" in self.auth and self.sessions == "project"

    @property
    def proxy_url(self) -> str:
        """Return the URL of AUTH=proxy. Raises ImproperlyConfigured without an API server."""
        if self.api_server_url is None:
            raise ImproperlyConfigured("API_SERVER_URL: AUTH=proxy asks it, and it is not set")
        return f"{self.api_server_url.rstrip('/')}/{self.auth_proxy_path.lstrip('/')}"

    @property
    def webhook_url(self) -> str:
        """Return the URL that webhooks go to. Raises ImproperlyConfigured without an API server."""
        if self.api_server_url is None:
            raise ImproperlyConfigured("API_SERVER_URL: webhooks go there, and it is not set")
        return f"{self.api_server_url.rstrip('/')}/{self.webhook_path.lstrip('/')}"


def environment_of(given: str | None, debug: bool, *, tested: bool = False) -> str:
    """Return what the process runs in. `debug`: Django's setting DEBUG. `tested`: whether its tests
    run, for which Django sets DEBUG to false.

    Whoever says nothing develops with DEBUG and is in production without, and without it
    "development" is production too: what is for developers alone never faces the world because
    of one forgotten variable.
    """
    if given in (None, "", "development"):
        if tested:
            return "test"
        return "development" if debug else "production"
    return str(given)


@lru_cache(maxsize=1)
def get_conf() -> Conf:
    """Return the settings of this process.

    Raises WrongSettings for keys of `GATEWAY` that do not exist, have another form, or contradict
    each other.
    """
    from django.conf import settings

    given: dict[str, Any] = getattr(settings, "GATEWAY", {})
    if not isinstance(given, dict):
        raise WrongSettings(
            Fault(
                (),
                "GATEWAY: it is no dictionary; the page Settings of the documentation has its keys",
            )
        )
    known, wrong = formed(Conf, given)
    faults = [
        Fault(
            (name.upper(),), f"GATEWAY: {text}; the page Settings of the documentation has its keys"
        )
        for name, text in sorted(wrong.items())
    ]
    known["environment"] = environment_of(
        known.get("environment"), settings.DEBUG, tested=under_test.is_set_up()
    )
    try:
        conf = Conf(**known)
    except WrongSettings as error:
        faults += error.faults
    if faults:
        raise WrongSettings(*faults)
    return conf


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    """Tests change settings: the cached value goes with them."""
    if setting in ("GATEWAY", "DEBUG"):
        get_conf.cache_clear()
