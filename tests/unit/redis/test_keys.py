"""No id from outside names a key of another id, or one of the gateway's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from sockets.base.ids import new_id
from sockets.cluster.registry_redis import NodeCalls
from sockets.conf import Conf
from sockets.presence.base import Limit
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys
from sockets.streams.base import NewEntry
from sockets.streams.redis import StreamCalls
from sockets.tasks.redis import _PARTS
from sockets.types import Kind, SessionInfo

DOCS = Path(__file__).resolve().parents[3] / "docs"
SETTINGS: dict[str, Any] = {"size": 9, "ttl": 9, "record_ttl": 9, "idempotency_ttl": 9}
SESSION = new_id()
OPEN_ENDED = ("task:", "held:", "pool:")
"""Parts of the table of tasks that an id follows; `task:` is checked to be a ULID."""


def presence(keys: Keys) -> PresenceCalls:
    return PresenceCalls(keys, lease=30, grace=10, limit=Limit())


def session_keys(keys: Keys, kind: Kind, user: str) -> Iterator[str]:
    info = SessionInfo(SESSION, kind, user, new_id(), "a", 0.0)
    names, _ = presence(keys).register(info, "")
    for name in map(str, names):
        yield f"{name}{SESSION}" if name.endswith(":ended:") else name


def user_keys(keys: Keys, user: str, idempotency_key: str) -> set[str]:
    """All that a user's id is written into; that of the first script and what it makes itself."""
    names, _ = StreamCalls(keys, **SETTINGS).append(
        user, NewEntry("id", b"{}", idempotency_key=idempotency_key)
    )
    return {*names, *session_keys(keys, Kind.CLIENT, user), presence(keys).block_key(user)}


def own_keys(keys: Keys, lives: Iterable[str], ids: Iterable[str]) -> Iterator[tuple[Any, str]]:
    """Those of the gateway itself: the registry, what nodes answer for, the table of tasks."""
    names, _ = NodeCalls(keys, lease=30, warmup=40).call()
    yield from ((("nodes", name), str(name)) for name in names)
    for kind in Kind:
        yield from (((kind, life), keys.users_of(life, kind)) for life in lives)
    for part in _PARTS:
        if part in OPEN_ENDED:
            yield from (((part, id), keys.tasks(part) + id) for id in ids)
        else:
            yield part, keys.tasks(part)


labels = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
namespaces = st.sampled_from(["gw", "g", "tasks", "nodes", "worker", "node", "gw.a", "a"]) | labels
pieces = st.sampled_from(
    [
        "{",
        "}",
        "\\",
        ":",
        "gw",
        "nodes",
        "gw:nodes",
        "tasks",
        "worker",
        "node",
        "info",
        "ended",
        ":sessions",
        "}:info",
        "}:ended:x",
        "}:idem:k",
        "a",
        "한",
        "%7D",
        "block",
        "warmup",
        "claims",
    ]
)
texts = st.lists(pieces, min_size=1, max_size=6).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20
)


@given(namespaces, namespaces, st.lists(texts, max_size=5), st.lists(texts, max_size=3), texts)
def test_every_id_has_keys_of_its_own(
    one: str, other: str, users: list[str], others: list[str], idempotency_key: str
) -> None:
    found: dict[str, Any] = {}
    for namespace in {one, other}:
        keys = Keys(namespace)
        likely = [f"{namespace}:nodes", f"\\{namespace}:nodes", "tasks", "\\tasks", "}", "\\}"]
        ids = dict.fromkeys([*users, *likely])
        made: list[tuple[Any, str]] = []
        for user in ids:
            of_user = user_keys(keys, user, idempotency_key)
            assert len({key_slot(key.encode()) for key in of_user}) == 1, "one script touches them"
            made += [(("user", user), key) for key in of_user]
        for name in dict.fromkeys([*others, *likely]):
            of_worker = {*session_keys(keys, Kind.WORKER, name)}
            assert len({key_slot(key.encode()) for key in of_worker}) == 1
            made += [(("worker", name), key) for key in of_worker]
        made += own_keys(keys, [f"{one}:{SESSION}"], ids)
        for whose, key in made:
            assert found.setdefault(key, (namespace, whose)) == (namespace, whose), key


@pytest.mark.parametrize("namespace", ["gw", "tasks", "nodes", "a.b"])
def test_only_ids_that_would_collide_are_written_otherwise(namespace: str) -> None:
    keys = Keys(namespace)
    for id in ("42", "kim@example.com", "tasks", "nodes", f"{namespace}:node", "a\\", "a}", "{"):
        assert keys.user(id, "info") == f"{namespace}:{{{id}}}:info"
    for id in (f"{namespace}:nodes", "}", "\\x", f"\\{namespace}:nodes"):
        assert keys.user(id, "info") == f"{namespace}:{{\\{id}}}:info"


@pytest.mark.parametrize("namespace", ["a:worker", "a{b", "a}", "", "x" * 65, "é"])
def test_a_namespace_that_could_be_part_of_an_id_is_refused(namespace: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="GATEWAY_NAMESPACE"):
        Conf(namespace=namespace)


@pytest.mark.parametrize("page", ["reference/redis-keys.md", "ask-from-any-language.md"])
def test_the_pages_tell_the_whole_rule(page: str) -> None:
    text = (DOCS / page).read_text()
    for id in ("`}`", "`\\`", "`gw:nodes`", "`gw:{\\gw:nodes}:sessions`"):
        assert id in text


def test_the_function_on_the_page_makes_the_same_keys() -> None:
    page = (DOCS / "ask-from-any-language.md").read_text()
    made: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], made)
    for id in ("42", "a}", "}", "}x", "\\", "\\}", "gw:nodes", "\\gw:nodes", "gw:node", "tasks"):
        assert made["key"](id, "state") == Keys("gw").user(id, "state")
