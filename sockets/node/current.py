"""The node of this process, if it runs, for whoever asks in every process of a project.

The Python API, the admin and the receivers of Django's users run in web workers too, which hold no
sockets and may have no server installed. So what a node is made of is not imported here: `node.py`
starts and stops it, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from sockets.node.core import Core


def _nobody() -> None:
    """There is no node to look."""


_node: Core | None = None
_look_at_keys: Callable[[], object] = _nobody


def current_node() -> Core | None:
    """Return the node of this process, if it runs."""
    return _node


def begin(node: Core, look_at_keys: Callable[[], object]) -> None:
    """Make this the node of the process. `look_at_keys`: called on its loop by `keys_changed`."""
    global _node, _look_at_keys
    _node, _look_at_keys = node, look_at_keys


def end(node: Core) -> None:
    """Let the process be without a node, if this is the one it has."""
    global _node
    if _node is node:
        _node = None


def keys_changed() -> None:
    """Have the node of this process, if it runs, read the keys now; others do in KEYS_REFRESH."""
    node = _node
    if node is not None:
        with suppress(RuntimeError):  # it has just ended
            node.loop.call_soon_threadsafe(_look_at_keys)
