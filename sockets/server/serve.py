"""`manage.py serve`: one process, both surfaces, from listening to the last row written."""

from __future__ import annotations

# The reactor first: see sockets/server/reactor.py.
from sockets.server.daphne import GatewayServer, Listener  # isort: skip

import gc
import json
import logging
import os
import resource
import secrets
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from sockets.api import beside
from sockets.auth.scopes import CALL
from sockets.base.within import shown_by
from sockets.conf import Conf
from sockets.http.own_paths import is_own
from sockets.node.node import Node, current_node, ensure_node, stop_node
from sockets.server.application import require_sockets
from sockets.server.http import BodyLimit
from sockets.types import Surface

logger = logging.getLogger(__name__)

DEMO_PREFIX = "/demo/"

OTHER_DESCRIPTORS = 500
"""Files, the database, Redis, webhooks, HTTP connections that are answered."""


def serve(
    application: Any,
    conf: Conf,
    *,
    path: str,
    host: str,
    client_port: int,
    worker_port: int,
    ports_file: Path | None,
    out: TextIO,
) -> int:
    """Run until a signal ends it; returns the exit code. Must be called in the main thread.

    `path`: the name of the application, for the error of one that serves no sockets.
    """

    async def on_listening(ports: dict[Surface, int]) -> None:
        client, worker = ports[Surface.PUBLIC], ports[Surface.PRIVATE]
        node = await ensure_node(client_port=client, worker_port=worker)
        await require_sockets(application, path)
        out.write(_banner(host, client, worker, node, application))
        out.flush()
        _have_descriptors(conf)
        if _is_for_development(conf, host):
            written.append(_let_call(conf, node, worker))
        if ports_file is not None:
            _write_ports(ports_file, client, worker)

    written: list[Path] = []

    async def on_stopping() -> None:
        for file in written:
            file.unlink(missing_ok=True)
        if (node := current_node()) is not None:
            await node.lag()

    async def on_draining() -> None:
        if (node := current_node()) is not None:
            await node.drain()

    server = GatewayServer(
        application,
        [
            Listener(Surface.PUBLIC, host, client_port, "CLIENT_SOCKET_PORT or --client-port"),
            Listener(Surface.PRIVATE, host, worker_port, "WORKER_SOCKET_PORT or --worker-port"),
        ],
        conf=conf,
        body_limit=body_limit(conf, shown_by(application)),
        on_listening=on_listening,
        on_stopping=on_stopping,
        on_draining=on_draining,
        on_stopped=stop_node,
    )
    _tune_garbage_collection()
    server.run()
    if ports_file is not None:
        ports_file.unlink(missing_ok=True)
    return server.exit_code


def _is_for_development(conf: Conf, host: str) -> bool:
    """Whether other processes of this machine may call this one by the file in DATA_DIR: those of
    memory mode could not otherwise."""
    if conf.redis_url or conf.environment == "production":
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _let_call(conf: Conf, node: Node, port: int) -> Path:
    """Write that file, with a key that lives as long as this node. Returns where it is."""
    key = secrets.token_urlsafe(32)
    node.keys.lend("beside", key, frozenset({CALL}))
    return beside.write(
        conf,
        beside.Beside(
            url=f"http://127.0.0.1:{port}{conf.api_path}",
            key=key,
            pid=os.getpid(),
            client_socket_url=node.addresses.client_socket_url,
            worker_socket_url=node.addresses.worker_socket_url,
        ),
    )


def _tune_garbage_collection() -> None:
    """Let the garbage collector look at what is new in small steps, and seldom at all else: it
    walks through thousands of live sessions for that, which leave it nothing when they end.

    A crowd of 10,000 brings no such walk (bench/RESULTS.md has what one takes); a site in the same
    process, whose requests may leave circles that outlive two steps, has one after some 1,500,000
    objects. Python 3.14.0 to 3.14.4 collect in steps of their own, and look at the first alone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 1, 100)


def _have_descriptors(conf: Conf) -> None:
    """Raise the limit of open files for MAX_SESSIONS and, of both ports, MAX_PENDING and MAX_IDLE,
    as far as the machine lets us."""
    needed = conf.max_sessions + 2 * (conf.max_pending + conf.max_idle) + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        # While a site is developed nobody comes near it.
        level = logging.INFO if conf.environment == "development" else logging.WARNING
        logger.log(
            level,
            "this process may open %d files, and MAX_SESSIONS=%d with MAX_PENDING=%d and "
            "MAX_IDLE=%d needs %d: raise the limit (ulimit -Hn, LimitNOFILE=) or lower those",
            most,
            conf.max_sessions,
            conf.max_pending,
            conf.max_idle,
            needed,
        )


def body_limit(conf: Conf, site: Any = None) -> BodyLimit:
    """Return how large the body of a request may be, by surface and path. `site`: the project's
    own, as `with_gateway` knows it; None: all of it is behind the private port."""

    def limit(surface: Surface, path: str) -> int:
        if is_own(conf, surface, path):
            return conf.body_public if surface is Surface.PUBLIC else conf.body_private
        if surface is not Surface.PUBLIC:
            return conf.body_site
        if conf.demo:
            return conf.body_demo if path.startswith(DEMO_PREFIX) else conf.body_public
        return conf.body_site if site is not None and site.public else conf.body_public

    return limit


def _banner(host: str, client: int, worker: int, node: Node, application: Any) -> str:
    conf = node.conf
    name = "localhost" if host in ("0.0.0.0", "127.0.0.1", "::", "localhost") else host
    private = f"http://{name}:{worker}"
    lines = [
        f"clients  {node.addresses.client_socket_url}",
        f"workers  {conf.worker_socket_url or _workers(name, worker, conf)}",
        *(f"admin    {private}{path}" for path in _admin_paths()),
        f"api      {private}{conf.api_path}docs",
    ]
    site = shown_by(application)
    if site is not None and _private_urls() is None:
        lines.append(f"site     {private}/")
        if site.public:
            shown = "without its admin" if site.hides_admin else "its admin too"
            lines.append(f"         http://{name}:{client}/ ({shown}), for everybody")
    if "insecure" in conf.auth:
        lines.append("AUTH has insecure: whoever says so is that user; for development only")
    if conf.demo:
        lines.insert(0, f"example  http://{name}:{client}/demo/")
    text = "".join(f"  {line}\n" for line in lines)
    mode = "Redis mode" if conf.redis_url else "memory mode"
    reason = node.unready_because
    state = "is ready" if reason is None else f"has started, but is not ready: {reason}"
    return f"gateway {conf.node_name} {state} ({mode}), process {os.getpid()}\n{text}"


def _workers(name: str, port: int, conf: Conf) -> str:
    longest = max(conf.worker_paths, key=len).rstrip("/")
    return f"ws://{name}:{port}{longest}/"


def _admin_paths() -> list[str]:
    """Return where the project's URLs have an admin, if there is one."""
    with suppress(NoReverseMatch, ImproperlyConfigured):
        return [reverse("admin:index", urlconf=_private_urls())]
    return []


def _private_urls() -> str | None:
    """Return the URLconf with the admin, where it is not ROOT_URLCONF, which is the public one in
    this repository's project."""
    return getattr(settings, "PRIVATE_URLCONF", None)


def _write_ports(path: Path, client: int, worker: int) -> None:
    """Write the ports, for scripts that asked for port 0; the whole file or none."""
    ports = {"client_port": client, "worker_port": worker, "pid": os.getpid()}
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(ports) + "\n")
    draft.replace(path)
