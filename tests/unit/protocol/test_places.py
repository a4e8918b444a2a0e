"""Places for strangers: so many in all, and a share of them for each address."""

from __future__ import annotations

import pytest

from sockets.exceptions import TryAgainLater
from sockets.protocol.places import Places


def test_there_are_so_many_places_in_all() -> None:
    places = Places(2, 2)
    assert [places.take(address) for address in ("a", "b", "c")] == [True, True, False]
    assert places.taken == 2
    places.give_back("a")
    assert places.taken == 1 and places.take("c")


def test_one_address_gets_its_share_and_no_more() -> None:
    places = Places(9, 2)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert places.take("b"), "another one's share is its own"
    places.give_back("a")
    assert places.take("a")


def test_an_address_that_is_not_known_has_no_share() -> None:
    places = Places(3, 1)
    assert [places.take("") for _ in range(4)] == [True, True, True, False]


def test_an_address_without_a_place_is_forgotten() -> None:
    places = Places(2, 1)
    for n in range(50):
        assert places.take(str(n))
        places.give_back(str(n))
    assert not places._by_address


def test_a_held_place_is_given_back_whatever_happens() -> None:
    places = Places(1, 1)
    with pytest.raises(KeyError), places.hold("a", "busy"):
        with pytest.raises(TryAgainLater, match="busy"), places.hold("b", "busy"):
            pytest.fail("there was no place")
        raise KeyError
    assert places.taken == 0
