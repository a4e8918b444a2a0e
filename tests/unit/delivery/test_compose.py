"""What is appended and published, and which receipts follow: without any I/O."""

from __future__ import annotations

from itertools import count

import pytest
from msgspec import Raw

from sockets.base.ids import new_id
from sockets.delivery.compose import Composer, for_each, in_order, receipt, unpublished
from sockets.exceptions import InvalidMessage, MessageTooLarge
from sockets.streams.base import Appended
from sockets.types import Notification, Position, Receipt

AT = Position("epoch", 7)


def composer(limit: int = 1_000) -> Composer:
    return Composer(limit, lambda: 5.0)


def test_many_users_get_one_entry_each_once() -> None:
    one, other = composer().many(["1", "2", "1"], Notification(None, "e", {"n": 1}), id="I")
    assert (one.user, other.user) == ("1", "2")
    assert one.entry is other.entry and one.entry.id == "I" and one.durable


def test_the_key_of_a_batch_is_for_durable_ones_without_their_own() -> None:
    many = [
        Notification("1", "e"),
        Notification("2", "e", idempotency_key="own"),
        Notification("3", "e", durable=False),
    ]
    named, own, passing = composer().batch(many, "job")
    assert named.entry.idempotency_key == "job:0" and named.entry.own_key is not None
    assert (own.entry.idempotency_key, own.entry.own_key) == ("own", None)
    assert (passing.entry.idempotency_key, passing.durable) == (None, False)
    assert [one.entry.own_key for one in composer().batch(many)] == [None] * 3


@pytest.mark.parametrize("wrong", [Notification("", "e"), Notification("1", "e", ttl=-1)])
def test_the_error_of_a_batch_says_which_one_it_is(wrong: Notification) -> None:
    with pytest.raises(InvalidMessage, match=r"^notification 1: "):
        composer().batch([Notification("1", "e"), wrong])


def test_published_is_what_the_store_has_not_published_and_not_what_is_known() -> None:
    sent = composer().batch([Notification(str(n), f"e{n}") for n in range(4)])
    ids = [one.entry.id for one in sent]
    done = [
        Appended(ids[0], AT),
        Appended(ids[1], AT, published=True),
        Appended("another", AT, duplicate=True),  # an earlier call had sent it
        Appended(ids[3], AT, duplicate=True),  # this call had, and has not heard so
    ]
    found = [unpublished(*pair) for pair in zip(sent, done, strict=True)]
    assert [one and (one[0], one[1]["event"]) for one in found] == [
        *(("u.0", "e0"), None, None, ("u.3", "e3")),
    ]
    assert found[0] and (found[0][1]["epoch"], found[0][1]["offset"]) == ("epoch", 7)
    duplicates = [receipt(*pair, reach=0).duplicate for pair in zip(sent, done, strict=True)]
    assert duplicates == [False, False, True, False]


def test_what_is_published_only_has_no_position() -> None:
    (one,) = composer().batch([Notification("1", "e", durable=False)])
    group, message = one.published()
    assert group == "u.1" and not message.keys() & {"epoch", "offset", "exclude_client"}
    assert receipt(one, None, 3) == Receipt(one.entry.id, None, None, reach=3)


def test_receipts_come_in_the_order_of_what_was_sent() -> None:
    durable = [True, False, False, True]
    sent = composer().batch([Notification(str(n), "e", durable=d) for n, d in enumerate(durable)])
    numbers = count()
    kept, passing = [
        [Receipt(f"{kind}{next(numbers)}", None, None) for _ in range(2)] for kind in ("k", "p")
    ]
    assert [one.id for one in in_order(sent, kept, passing)] == ["k0", "p2", "p3", "k1"]


def test_a_user_named_twice_gets_the_receipt_twice() -> None:
    sent = composer().many(["1", "2"], Notification(None, "e"))
    receipts = [Receipt(str(n), None, None) for n in range(2)]
    one, two = receipts
    assert for_each(["2", "1", "2"], sent, receipts) == [two, one, two]


def test_a_broadcast_goes_to_everybody_but_the_excluded_client() -> None:
    client = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    given = Notification(None, "e", durable=False, exclude_client=client.lower())
    id, (group, message) = composer().broadcast(given)
    assert group == "gateway.clients" and message["exclude_client"] == client
    assert id.encode() in message["body"]


@pytest.mark.parametrize("size", [990, 2_000])
def test_what_is_too_large_is_counted_whole_in_whatever_form_it_came(size: int) -> None:
    text = "x" * size
    found = set()
    for data in (text, Raw(b'"%s"' % text.encode())):
        with pytest.raises(MessageTooLarge) as error:
            composer().one(Notification("1", "e", data), id=new_id())
        found.add(str(error.value))
    (said,) = found
    assert int(said.split()[3]) > size + len('"id":"","event":"","data":"","time":""')
