"""Whose request this is behind a proxy: `X-Forwarded-For`, as far as TRUSTED_PROXIES goes.

Anybody may write the header, and each proxy adds on its right whom it has seen. So it is read from
the right, and believed only as far as those who wrote it are trusted. By default nobody is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Address = tuple[str, int]
"""Host and port; port 0 is not known."""

_MAPPED: Final = re.compile(r"\[?[0:]*:ffff:", re.IGNORECASE)

REMEMBERED: Final = 10_000
"""Addresses whose reading is kept: one connect asks for the same several times."""

_LONGEST: Final = 45
"""Characters of an address, as "0000:0000:0000:0000:0000:ffff:255.255.255.255" has them."""

MAX_HOPS: Final = 32
"""Entries of the header that are looked at, from the right."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """So many proxies, whatever their addresses; or those of these networks."""

    count: int = 0
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.count or self.networks)

    def is_proxy(self, peer: str) -> bool:
        """Whether a connection of this host is a trusted proxy's, and so perhaps many clients'."""
        return bool(self.count) or self.has(peer)

    def has(self, host: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        try:
            return any(_plain(ip_address(host)) in network for network in self.networks)
        except ValueError:
            return False


def parse_trusted(words: Sequence[str]) -> Trusted:
    """Read a count ("1"), or networks ("10.0.0.0/8", "::1"). Raises ValueError."""
    if len(words) == 1 and words[0].isascii() and words[0].isdigit():
        count = int(words[0])
        if count > MAX_HOPS:
            raise ValueError(f"at most {MAX_HOPS} proxies")
        return Trusted(count=count)
    return Trusted(networks=tuple(ip_network(word) for word in words))


def peer_host(scope: Mapping[str, Any]) -> str:
    """The host of the peer that an ASGI scope names; "" on a Unix socket, which has none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def client_of(
    peer: Address | None, headers: Iterable[tuple[bytes, bytes]], trusted: Trusted
) -> Address | None:
    """Return the client's own address. `peer`: who holds the connection, perhaps a proxy; None: a
    Unix socket, which is trusted only by count."""
    if peer is not None:
        peer = plain(str(peer[0])), peer[1]
    if not trusted:
        return peer
    given = [value for name, value in headers if name == b"x-forwarded-for"]
    chain = b",".join(given).decode("latin-1").split(",")[-MAX_HOPS:]
    if trusted.count:
        if len(chain) < trusted.count:
            return peer  # it did not come by all of them
        return _parsed(chain[-trusted.count]) or peer
    if peer is None or not trusted.has(peer[0]):
        return peer
    found = peer
    for entry in reversed(chain):
        seen = _parsed(entry)
        if seen is None:
            break
        found = seen
        if not trusted.has(found[0]):
            break
    return found


def host_in(address: str) -> str:
    """Return the host of "host:port" or "host"; what is no address, as it is."""
    found = _parsed(address)
    return found[0] if found else address


def _parsed(entry: str) -> Address | None:
    """Read `1.2.3.4`, `1.2.3.4:56`, `::1`, `[::1]`, `[::1]:56`; None for anything else."""
    text = entry.strip()
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65_536):
        return None
    if "%" in host:  # a zone means something on the proxy's machine only
        return None
    if len(host) > _LONGEST:  # and not kept: anybody may write the header
        return None
    known = _canonical(host)
    return None if known is None else (known, int(port or 0))


@lru_cache(REMEMBERED)
def _canonical(host: str) -> str | None:
    """Return an address in its shortest form, an IPv4 one as such; None for what is none."""
    try:
        return str(_plain(ip_address(host)))
    except ValueError:
        return None


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return one name for one machine: an IPv4 address that is written as IPv6 becomes IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def plain(address: str) -> str:
    """Return a host, or "host:port" as `peer_address` writes it, with an IPv4 address in its own
    form: a socket that listens for both sees `::ffff:1.2.3.4`. Anything else is returned as it is.
    """
    if not _MAPPED.match(address):
        return address
    found = _parsed(address)
    if found is None or ":" in found[0]:
        return address
    host, port = found
    return f"{host}:{port}" if port else host


@lru_cache(REMEMBERED)
def neighbourhood(host: str) -> str:
    """Return what counts as one address in limits: of IPv6 the /64 that one customer has."""
    try:
        address = _plain(ip_address(host))
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
