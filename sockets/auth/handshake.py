"""What a client sent when it connected, taken from the ASGI scope and checked for form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from sockets.base.client_address import neighbourhood, plain
from sockets.base.ids import is_user_id, new_id, parse_ulid
from sockets.exceptions import BadRequest
from sockets.types import Position

SUBPROTOCOL = "gateway.v1"
_BEARER_SUBPROTOCOL = "gateway.bearer."
_MAX_FIELDS = 32
_MAX_AGENT = 256


@dataclass(frozen=True, slots=True)
class Handshake:
    """The parsed handshake. `params`: the query string, the last value of a name wins. `headers`:
    as they came; `header` reads one.

    `token` comes from the subprotocol, the Authorization header or (where allowed) the query.
    """

    params: Mapping[str, str] = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    subprotocols: tuple[str, ...] = field(repr=False)
    address: str
    scope: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def speaks_v1(self) -> bool:
        """Whether the peer offered `gateway.v1`; if not, it gets no application pings."""
        return SUBPROTOCOL in self.subprotocols

    @property
    def agent(self) -> str:
        """Return the User-Agent, cut."""
        return (self.header("user-agent") or "")[:_MAX_AGENT]

    @property
    def host(self) -> str:
        """Return the peer's address without a port; "" on a Unix socket."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def neighbourhood(self) -> str:
        """Return what counts as this peer's one address in limits; "" on a Unix socket."""
        return neighbourhood(self.host)

    def header(self, name: str) -> str | None:
        """Return a header, the last one of that name; None: there is none. `name`: lower case."""
        wanted, found = name.encode("latin-1", "replace"), None  # no header's name has a "?"
        for given, value in self.headers:
            if given.lower() == wanted:
                found = value
        return None if found is None else found.decode("latin-1")

    def token(self, *, allow_query: bool) -> str | None:
        """Return the bearer token, if one was given."""
        for name in self.subprotocols:
            if name.startswith(_BEARER_SUBPROTOCOL):
                return name.removeprefix(_BEARER_SUBPROTOCOL)
        scheme, _, value = (self.header("authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
        return self.params.get("token") if allow_query else None

    def user_id(self) -> str | None:
        """Return `user_id` or `userId`. Raises BadRequest when it is not a user id."""
        value = self._one_of("user_id", "userId")
        if value is not None and not is_user_id(value):
            raise BadRequest("user_id must be 1 to 1,024 bytes of UTF-8")
        return value

    def client_id(self, *names: str) -> str:
        """Return the ULID under one of `names`, or a new one. Raises BadRequest when it is not a
        ULID."""
        value = self._one_of(*names)
        if value is None:
            return new_id()
        ulid = parse_ulid(value)
        if ulid is None:
            raise BadRequest(f"{names[0]} must be a ULID: 26 characters of Crockford base 32")
        return ulid

    def names_client(self, *names: str) -> bool:
        """Return whether there is a client id under one of `names`."""
        return any(name in self.params for name in names)

    def position(self) -> Position | None:
        """Return `epoch` and `offset`, both or neither. Raises BadRequest."""
        epoch, offset = self.params.get("epoch"), self.params.get("offset")
        if epoch is None and offset is None:
            return None
        if epoch is None or offset is None:
            raise BadRequest("epoch and offset go together")
        if not (offset.isascii() and offset.isdigit() and len(offset) <= 18 and len(epoch) <= 64):
            raise BadRequest("offset must be a whole number from 0, epoch what the welcome said")
        return Position(epoch, int(offset))

    def _one_of(self, *names: str) -> str | None:
        given = {self.params[name] for name in names if name in self.params}
        if len(given) > 1:
            raise BadRequest(f"{' and '.join(names)} contradict each other")
        return given.pop() if given else None


def parse(scope: Mapping[str, Any]) -> Handshake:
    """Read a WebSocket scope. Raises BadRequest when the query string cannot be read."""
    query = scope.get("query_string", b"")
    try:
        # An empty value is kept: `?user_id=` is a mistake to be told, not an absent parameter.
        pairs = parse_qsl(query.decode("ascii"), True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise BadRequest("the query string is not UTF-8, or has too many fields") from None
    return Handshake(
        params=dict(pairs),
        headers=tuple(scope.get("headers", ())),
        subprotocols=tuple(scope.get("subprotocols", ())),
        address=peer_address(scope),
        scope=scope,
    )


def claims_in(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return what a handshake says of its peer, which nobody has checked: `client_id`, `agent`,
    `origin` and `claimed`, the user id that it gives; "" for what it does not say."""
    try:
        found = parse(scope)
        client = parse_ulid(found.params.get("client_id") or found.params.get("clientId", ""))
        user = found.params.get("user_id") or found.params.get("userId", "")
    except BadRequest:
        return {}
    return {
        "client_id": client or "",
        "claimed": user if is_user_id(user) else "",
        "agent": found.agent,
        "origin": (found.header("origin") or "")[:_MAX_AGENT],
    }


def peer_address(scope: Mapping[str, Any]) -> str:
    """ "host:port" of the peer, "host" behind a proxy, "" on a Unix socket. Of IPv6 "[host]:port",
    which is no other address."""
    client = scope.get("client")
    if not client:
        return ""
    host, port = plain(str(client[0])), client[1]
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
