"""Names of hosts in URLs."""

from __future__ import annotations

from urllib.parse import urlsplit


def hosts_of(*urls: str | None) -> tuple[str, ...]:
    """Return the hosts of those URLs that are set, as an HTTP request names them (without the
    port)."""
    found = []
    for url in urls:
        if url is not None and (host := urlsplit(url).hostname):
            found.append(f"[{host}]" if ":" in host else host)
    return tuple(found)
