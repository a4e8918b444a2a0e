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
        """Return `gw:{<user id>}:<name>`."""
        tag = f"\\{user}" if user == self._registry else _tag(user)
        return f"{self._namespace}:{{{tag}}}:{name}"

    def worker(self, name: str, what: str) -> str:
        """Return `gw:worker:{<key name>}:<what>`: a worker's key may be called as a user is."""
        return f"{self._namespace}:worker:{{{_tag(name)}}}:{what}"

    def nodes(self, what: str) -> str:
        """Return `gw:nodes`, or a key beside it in its slot: `gw:{gw:nodes}:<what>`."""
        name = self._registry
        return f"{self._namespace}:{{{name}}}:{what}" if what else name

    def probe(self, number: int) -> str:
        """Return a key that no id can name: tags of ids that begin with `\\` go on otherwise."""
        return f"{self._namespace}:{{\\probe-{number}}}:probe"

    def users_of(self, life: str, kind: Kind) -> str:
        """Return `gw:node:<life>:users`, or `:workers`."""
        return f"{self._namespace}:node:{life}:{'users' if kind is Kind.CLIENT else 'workers'}"

    def tasks(self, what: str) -> str:
        """Return `gw:{tasks}:<what>`: all in one slot, because choosing a worker is one step."""
        return f"{self._namespace}:{{tasks}}:{what}"

    def receipt(self, user: str, key: str) -> str:
        """Return the key of a receipt, written so that it cannot pass for another user's key."""
        escaped = key.replace("%", "%25").replace("}", "%7D")
        return self.user(user, f"idem:{escaped}")

    def own_receipt(self, user: str, name: str) -> str:
        """Return the key of a receipt that only the gateway can name: no caller's is written so."""
        return self.user(user, f"own:{name}")


def _tag(id: str) -> str:
    """Return an id as it is written in braces.

    A tag that begins with its own end would be empty, and the keys in several slots; and what
    begins with `\\` must not be what another id became by this.
    """
    return f"\\{id}" if id[:1] in ("}", "\\") else id
