"""Faults of variables: one line each, and those of a list together."""

from __future__ import annotations

import pytest

from sockets.conf import WrongSettings
from sockets.variables.faults import Items, Wrong


def test_a_fault_names_its_variables_and_the_remedy() -> None:
    (fault,) = Wrong("A", "it is odd", "make it even", also=["B"]).faults
    assert (fault.names, fault.text) == (("A", "B"), "A: it is odd; make it even")


def test_items_without_a_fault_are_fine() -> None:
    items = Items()
    with items.each():
        pass
    items.refuse()


def test_the_fault_of_one_item_is_raised_as_it_was() -> None:
    items, wrong = Items(), Wrong("A", "f", "r")
    for one in (None, wrong):
        with items.each():
            if one is not None:
                raise one
    with pytest.raises(Wrong) as caught:
        items.refuse()
    assert caught.value is wrong


def test_the_faults_of_all_items_come_together() -> None:
    items = Items()
    for number in "123":
        with items.each():
            if number != "2":
                raise Wrong("A", number, "r")
    with pytest.raises(WrongSettings) as caught:
        items.refuse()
    assert [fault.text for fault in caught.value.faults] == ["A: 1; r", "A: 3; r"]


def test_another_error_is_not_kept() -> None:
    with pytest.raises(KeyError), Items().each():
        raise KeyError
