"""Contracts of events: what is sent is what they say, however it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest
from django.utils.translation import gettext_lazy
from msgspec import Raw

from sockets import api
from sockets.api import Event
from sockets.api.contracts import contracts, require_readable
from sockets.base import under_test
from sockets.exceptions import InvalidMessage
from sockets.testing import outbox
from sockets.types import Notification


class SampleOrderPaid(Event):
    """An order was paid."""

    order: int
    total: str = "0.00"


class Odd(Event):
    event: ClassVar[str] = "sample.lines-changed"

    lines: list[SampleOrderPaid]


META: Any = type(Event)


@pytest.fixture(autouse=True)
def in_use() -> Iterator[None]:
    under_test.ignore(False)
    outbox.clear()
    yield
    under_test.ignore()
    outbox.clear()


def test_names() -> None:
    assert (
        SampleOrderPaid.event == "sample.order.paid"
        and contracts["sample.order.paid"] is SampleOrderPaid
    )
    assert Odd.event == "sample.lines-changed"

    class HTTPJobDone2(Event):
        pass

    assert HTTPJobDone2.event == "http.job.done2"


def test_an_instance_brings_name_and_data() -> None:
    api.notify_user("42", SampleOrderPaid(7, total="12.00"), collapse_key="order")
    api.notify_users(["1"], Odd([SampleOrderPaid(1)]))
    api.broadcast(SampleOrderPaid(8))
    api.notify_batch([Notification("9", SampleOrderPaid(9))])  # type: ignore[arg-type]
    assert [(sent.event, sent.data) for sent in outbox] == [
        ("sample.order.paid", {"order": 7, "total": "12.00"}),
        ("sample.lines-changed", {"lines": [{"order": 1, "total": "0.00"}]}),
        ("sample.order.paid", {"order": 8, "total": "0.00"}),
        ("sample.order.paid", {"order": 9, "total": "0.00"}),
    ]


async def test_the_twin_too() -> None:
    await api.anotify_user("42", SampleOrderPaid(7))
    assert outbox[0].event == "sample.order.paid"


@pytest.mark.django_db(transaction=True)
def test_after_a_commit_too() -> None:
    api.notify_user_on_commit("42", SampleOrderPaid(7))
    assert outbox[0].data == {"order": 7, "total": "0.00"}
    with pytest.raises(InvalidMessage):
        api.notify_user_on_commit("42", "sample.order.paid", {"order": "seven"})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"order": "7"}, r"Expected `int`, got `str` - at `\$.order`"),
        ({}, "missing required field `order`"),
        ({"order": 1, "more": 2}, "unknown field `more`"),
        (None, "Expected `object`, got `null`"),
    ],
)
def test_data_that_breaks_it_is_refused_where_it_is_sent(data: object, why: str) -> None:
    with pytest.raises(InvalidMessage, match=f"sample.order.paid, by .*SampleOrderPaid: .*{why}"):
        api.notify_user("42", "sample.order.paid", data)
    with pytest.raises(InvalidMessage, match=f"notification 0: sample.order.paid.*{why}"):
        api.notify_batch([Notification("1", "sample.order.paid", data)])
    assert not outbox


def test_an_instance_is_looked_at_as_well() -> None:
    """Python checks no annotations."""
    with pytest.raises(InvalidMessage, match="Expected `int`, got `str`"):
        api.notify_user("42", SampleOrderPaid("7"))  # type: ignore[arg-type]


def test_lazy_text_is_text() -> None:
    api.notify_user("42", SampleOrderPaid(7, total=gettext_lazy("Yes")))  # type: ignore[arg-type]
    assert outbox[0].data["total"] == "Yes"


def test_an_event_and_data_is_one_too_many() -> None:
    with pytest.raises(InvalidMessage, match=r"sample.order\.paid brings its data"):
        api.notify_user("42", SampleOrderPaid(7), {"order": 8})


@pytest.mark.parametrize("event", [5, None, b"order.paid"])
def test_what_is_no_name_is_refused_as_such(event: Any) -> None:
    with pytest.raises(InvalidMessage, match="event must be a string"):
        api.notify_user("42", event)


def test_the_class_itself_is_no_event() -> None:
    contract: Any = SampleOrderPaid
    for data in (None, {"order": 7}):
        with pytest.raises(
            InvalidMessage, match=r"SampleOrderPaid is a class: give SampleOrderPaid\(\.\.\.\)"
        ):
            api.notify_user("42", contract, data)


def test_events_without_a_contract_carry_anything() -> None:
    api.notify_user("42", "order.sent", {"order": "seven"})
    assert outbox[0].data == {"order": "seven"}


def test_two_contracts_of_one_name_are_an_error() -> None:
    def again() -> None:
        class Other(Event):
            event: ClassVar[str] = "sample.order.paid"

    with pytest.raises(
        TypeError, match=r"the event 'sample.order\.paid' is .*SampleOrderPaid already"
    ):
        again()
    assert contracts["sample.order.paid"] is SampleOrderPaid


def test_what_is_left_out_has_its_default() -> None:
    """In threads the arguments go on by name, to code that has no defaults."""
    assert api.abroadcast.put("e") == {
        **{"event": "e", "data": Raw(b"null"), "durable": False, "exclude_client": None}
    }


@pytest.mark.parametrize("annotation", [str, ClassVar[int], ClassVar[str]])
def test_a_field_or_a_wrong_name_is_an_error_at_once(annotation: Any) -> None:
    value = {str: "x", ClassVar[int]: 5, ClassVar[str]: "x" * 256}[annotation]
    with pytest.raises(TypeError, match="`event` is the event's name, 1 to 255 characters"):
        META("Wrong", (Event,), {"__annotations__": {"event": annotation}, "event": value})


def test_data_may_have_a_member_event() -> None:
    class SampleCalled(Event):
        what: str = msgspec.field(name="event")

    api.notify_user("42", SampleCalled(what="a"))
    assert [(sent.event, sent.data) for sent in outbox] == [("sample.called", {"event": "a"})]


def test_an_annotation_that_cannot_be_read_is_an_error_at_the_start() -> None:
    require_readable()
    wrong: Any = META("SampleWrong", (Event,), {"__annotations__": {"a": "Missing"}})
    try:
        with pytest.raises(TypeError, match=r"SampleWrong: name 'Missing' is not defined"):
            require_readable()
    finally:
        del contracts[wrong.event]
