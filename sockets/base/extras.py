"""What is said where the packages of a server are not installed: the remedy, in one line."""

from __future__ import annotations

from typing import Final

DISTRIBUTION: Final = "django-gateway"
"""The name that pip knows the gateway by; pyproject.toml has it too, and a test compares them."""


def server_lacking(what: str, error: ModuleNotFoundError) -> str:
    """Return the line for whoever wants `what` from a plain installation.

    `error`: of an import of ours, and of nothing else.
    """
    return (
        f"{what} needs the packages of a server, and {error.name} is not installed: "
        f"pip install '{DISTRIBUTION}[server]'"
    )
