"""The names of keys; docs/reference/redis-keys.md documents them for everybody."""

from __future__ import annotations

from sockets.types import Kind


class Keys:
    """The names of keys. All of one user's share a hash slot, so that one script may touch them.

    Two ids never share a key, nor an id one of the gateway's own, under any namespace that `Conf`
    takes. A user may be called `tasks`: their keys and those of `tasks` have different last parts,
    which `tests/unit/redis/test_keys.py` holds them to.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._registry = f"{namespace}:nodes"

    def user(self, user: str, name: str) -> str:
        """`gw:{<user id>}:<name>`."""
        tag = f"\\{user}" if user == self._registry else _tag(user)
        return f"{self._namespace}:{{{tag}}}:{name}"

    def worker(self, name: str, what: str) -> str:
        """`gw:worker:{<key name>}:<what>`: a worker's key may be called as a user is."""
        return f"{self._namespace}:worker:{{{_tag(name)}}}:{what}"

    def nodes(self, what: str) -> str:
        """`gw:nodes`, or a key beside it in its slot: `gw:{gw:nodes}:<what>`."""
        name = self._registry
        return f"{self._namespace}:{{{name}}}:{what}" if what else name

    def probe(self, number: int) -> str:
        """A key that no id can name: the tags of ids that begin with `\\` go on otherwise."""
        return f"{self._namespace}:{{\\probe-{number}}}:probe"

    def charges(self, life: str, kind: Kind) -> str:
        """`gw:node:<life>:users`, or `:workers`."""
        return f"{self._namespace}:node:{life}:{'users' if kind is Kind.CLIENT else 'workers'}"

    def tasks(self, what: str) -> str:
        """`gw:{tasks}:<what>`: all of them in one slot, because choosing a worker is one step."""
        return f"{self._namespace}:{{tasks}}:{what}"

    def receipt(self, user: str, key: str) -> str:
        """Of an idempotency key: written so that it cannot pass for another user's key."""
        escaped = key.replace("%", "%25").replace("}", "%7D")
        return self.user(user, f"idem:{escaped}")

    def own_receipt(self, user: str, name: str) -> str:
        """Of a message whose key the gateway makes: no caller's key is written so."""
        return self.user(user, f"own:{name}")


def _tag(id: str) -> str:
    """An id as it stands in braces. A tag that begins with its own end would be empty, and the
    keys in several slots; and what begins with `\\` must not be what another id became by this."""
    return f"\\{id}" if id[:1] in ("}", "\\") else id
