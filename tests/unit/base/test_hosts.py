"""Hosts of URLs, as a request names them."""

from __future__ import annotations

from sockets.base.hosts import hosts_of


def test_hosts_without_ports() -> None:
    assert hosts_of("wss://GW.example/x", None, "ws://[::2]:4001", "http://") == (
        "gw.example",
        "[::2]",
    )
