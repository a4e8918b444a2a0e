"""What is said of a message that is there, and of one that is not."""

from __future__ import annotations

import pytest

from sockets.deliveries import Fate, MessageFacts
from sockets.streams.facts import facts_of, facts_of_missing, header_of
from sockets.types import Entry


def test_a_message_is_described_without_its_data() -> None:
    body = b'{"id":"i","event":"order.paid","data":{"secret":1},"time":2.0}'
    facts = facts_of(Entry(7, body, "x", "k"), epoch="e", at=3.0, collapse_key="c", expires_at=None)
    assert facts == MessageFacts(
        "e", 7, Fate.KEPT, "i", "order.paid", 3.0, len(body), "k", "c", "x"
    )
    assert "secret" not in repr(facts)


@pytest.mark.parametrize(
    "data", ['"\\ud83c"', "1e999", '{"event":"f","time":9}', '",\\"time\\":5"']
)
def test_a_header_is_read_whatever_the_data_is(data: str) -> None:
    body = b'{"id":"i","event":"a \\"b\\"","data":%s,"time":2.5}' % data.encode()
    assert header_of(body) == (b'"i"', b'"a \\"b\\""', b"2.5")


def test_whatever_an_earlier_version_took_can_be_described() -> None:
    facts = facts_of(Entry(1, b"[1]"), epoch="e", at=3.0, collapse_key=None, expires_at=None)
    assert (facts.id, facts.event, facts.size, facts.idempotency_key) == ("", "", 3, "")


@pytest.mark.parametrize(
    ("offset", "replaced_by", "fate"),
    [
        (None, None, Fate.NOT_THERE),
        (0, None, Fate.NOT_THERE),
        (11, None, Fate.NOT_THERE),
        (3, None, Fate.TRIMMED),
        (4, None, Fate.REPLACED_OR_EXPIRED),
        (4, 9, Fate.REPLACED),
        (3, 9, Fate.REPLACED),
    ],
)
def test_what_is_gone_is_said_why(offset: int | None, replaced_by: int | None, fate: Fate) -> None:
    facts = facts_of_missing(epoch="e", head=10, floor=3, offset=offset, replaced_by=replaced_by)
    assert (facts.fate, facts.replaced_by) == (fate, replaced_by if fate is Fate.REPLACED else None)
