"""Group names: any user id has one, no two share one, plain code can compute them."""

from __future__ import annotations

from hashlib import sha256

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from sockets.base.ids import is_user_id
from sockets.layers.groups import CLIENTS, node_group, user_group, worker_group

user_ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=120) | st.from_regex(
    r"[A-Za-z0-9._\-]{1,70}", fullmatch=True
)


@pytest.mark.parametrize(
    ("user", "group"),
    [
        ("42", "u.42"),
        ("a" * 64, "u." + "a" * 64),
        ("a_b-C", "u.a_b-C"),
        ("42\n", "x." + sha256(b"42\n").hexdigest()),
        ("a.b", "x." + sha256(b"a.b").hexdigest()),
        ("a" * 65, "x." + sha256(b"a" * 65).hexdigest()),
        ("kim@example.com", "x." + sha256(b"kim@example.com").hexdigest()),
        ("한국", "x." + sha256("한국".encode()).hexdigest()),
        ("٤٢", "x." + sha256("٤٢".encode()).hexdigest()),
        ("/", "x." + sha256(b"/").hexdigest()),
    ],
    ids=ascii,
)
def test_the_group_of_a_user_is_as_the_protocol_says(user: str, group: str) -> None:
    assert user_group(user) == group


@given(user_ids)
def test_any_user_id_has_a_group_that_channels_accepts(user: str) -> None:
    assert is_user_id(user)
    layer = BaseChannelLayer()
    for group in (user_group(user), worker_group(user), node_group(user)):
        assert layer.require_valid_group_name(group)


@given(user_ids, user_ids)
def test_no_two_ids_share_a_group(one: str, other: str) -> None:
    for named in (user_group, worker_group, node_group):
        assert (named(one) == named(other)) is (one == other)


@given(user_ids)
def test_no_id_reaches_into_a_group_of_another_kind(name: str) -> None:
    hashed = sha256(name.encode()).hexdigest()
    for crafted in (name, hashed, f"x.{hashed}", "clients", "node.x"):
        groups = [user_group(crafted), worker_group(crafted), node_group(crafted), CLIENTS]
        assert len(set(groups)) == len(groups)
    assert user_group(name) != user_group(hashed)
