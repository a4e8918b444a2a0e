"""Which settings cannot be meant, or not together, whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from sockets.base.faults import Fault

ENVIRONMENTS: Final = ("development", "test", "production")
AUTH_METHODS: Final = ("jwt", "session", "proxy", "insecure")
"""How clients prove who they are."""

WEBHOOK_EVENTS: Final = ("user_online", "user_offline", "session_opened", "session_closed")
"""Events that webhooks can carry to the API server."""

MAY_BE_ZERO: Final = frozenset(
    {
        *("client_port", "worker_port", "hsts_seconds", "jwt_leeway", "token_grace"),
        *("auth_proxy_cache", "ready_lag", "drain_seconds", "presence_grace", "inbound_low"),
        *("sessions_per_user", "sessions_per_address", "max_idle", "max_requests", "session_keep"),
        *("api_rate", "client_rate", "worker_rate", "user_rate", "connect_rate"),
        "node_connect_rate",
    }
)
"""Numbers of which 0 means something; all others are above it."""

_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~-]+/?)*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NODE_NAME: Final = re.compile(r"[^~:]+(~[0-9]{1,2})?")  # ~2: the second process of an ASGI server
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def contradictions(conf: Any) -> Iterator[Fault]:
    """Yield what cannot be meant, or not together, of a `Conf`."""
    if conf.environment not in ENVIRONMENTS:
        yield _unknown("ENVIRONMENT", conf.environment, ENVIRONMENTS)
    for name, given, meant in (
        ("AUTH", conf.auth, AUTH_METHODS),
        ("WEBHOOKS", conf.webhooks, WEBHOOK_EVENTS),
    ):
        yield from (_unknown(name, one, meant) for one in given if one not in meant)
    for one in fields(conf):
        value = getattr(conf, one.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value < 0 or (value == 0 and one.name not in MAY_BE_ZERO):
            least = "0 or more" if one.name in MAY_BE_ZERO else "above 0"
            name = one.name.upper()
            yield Fault((name,), f"{name}: {value!r} is too little; it is a number {least}")
    for name, keys in (("WORKER_KEYS", conf.worker_keys), ("API_KEYS", conf.api_keys)):
        for label, digest in keys.items():
            if _DIGEST.fullmatch(digest) is None:
                yield Fault(
                    (name,),
                    f"{name}: what stands beside {label!r} is no SHA-256 of a secret in hex; "
                    "write hashlib.sha256(secret.encode()).hexdigest()",
                )
    if _NAMESPACE.fullmatch(conf.namespace) is None:
        yield Fault(
            ("GATEWAY_NAMESPACE",),
            f"GATEWAY_NAMESPACE: {conf.namespace!r} could be part of another one's keys; "
            "use 1 to 64 of A-Z a-z 0-9 . _ -",
        )
    if _NODE_NAME.fullmatch(conf.node_name) is None:
        yield Fault(
            ("NODE_NAME",),
            f"NODE_NAME: {conf.node_name!r} has a ~ or a colon: with ~ a node is named whose "
            "name another process has taken, after a colon stands which life of it this is; "
            "choose one without",
        )
    yield from _wrong_paths(conf)
    if conf.gateway_url and not conf.gateway_key:
        yield Fault(
            ("GATEWAY_KEY", "GATEWAY_URL"),
            "GATEWAY_KEY: GATEWAY_URL is called with it, and it is not set; make one: "
            "python manage.py create_key NAME --scope call",
        )
    if conf.lease_ttl < 2 * conf.lease_renew:
        yield Fault(
            ("LEASE_TTL", "LEASE_RENEW"),
            f"LEASE_TTL: {conf.lease_ttl:g} s is less than twice LEASE_RENEW "
            f"({conf.lease_renew:g} s); a single late renewal would end live sessions",
        )
    if conf.sessions not in ("project", "tables"):
        yield Fault(
            (),
            f"GATEWAY: sessions is {conf.sessions!r}; use 'project', for sessions that this "
            "project's own Django judges, or 'tables', for those of another one's database",
        )
    if conf.inbound_low >= conf.inbound_high:
        yield Fault(
            ("INBOUND_LOW", "INBOUND_HIGH"),
            f"INBOUND_LOW: {conf.inbound_low} is not below INBOUND_HIGH "
            f"({conf.inbound_high}); choose a smaller number",
        )


def _wrong_paths(conf: Any) -> Iterator[Fault]:
    for name, paths in (("CLIENT_PATHS", conf.client_paths), ("WORKER_PATHS", conf.worker_paths)):
        if not paths or not all(map(_PATH.fullmatch, paths)):
            text = f"{name}: it lists no paths, or one that is none; write /ws/…, plain letters"
            yield Fault((name,), text)
    if _PATH.fullmatch(conf.api_path) is None or not len(conf.api_path.split("/")) >= 3:
        yield Fault(("API_PATH",), f"API_PATH: {conf.api_path!r} is no path; write /…/")
    elif not conf.api_path.endswith("/"):
        yield Fault(("API_PATH",), f"API_PATH: {conf.api_path!r} is a page; end it with a slash")


def _unknown(name: str, given: str, meant: tuple[str, ...]) -> Fault:
    return Fault((name,), f"{name}: {given!r} is none of {', '.join(meant)}; choose among these")
