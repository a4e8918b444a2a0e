"""A worker's notifications: bounded, sent again while that is safe, and honest about the rest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway_client import errors
from gateway_client.frames import Frame, FrameError
from gateway_client.notes import Notes


def told(notes: Notes) -> list[dict[str, Any]]:
    return [json.loads(text) for text in notes.due()]


def online(most: int = 10, lifetime: float = 60.0) -> Notes:
    made = Notes(most, lambda: None, lifetime=lifetime)
    made.returned(65_536)
    return made


async def test_a_receipt() -> None:
    notes = online()
    receipt = notes.add(42, "e", {"a": 1}, ttl=5, collapse_key=None)
    (frame,) = told(notes)
    assert len(frame.pop("idempotency_key")) > 16
    ref = frame.pop("ref")
    assert frame == {"type": "notify", "user": "42", "event": "e", "data": {"a": 1}, "ttl": 5}
    assert told(notes) == []
    notes.replied(Frame("reply", ref=ref, ok=True, id="1", epoch="E", offset=7))
    assert (await receipt).offset == 7
    await asyncio.sleep(0)
    assert len(notes) == 0
    notes.replied(Frame("reply", ref=ref, ok=True, id="1"))  # once more: nobody waits


async def test_what_got_no_receipt_is_sent_again_under_its_key_after_a_return() -> None:
    notes = online()
    kept = [asyncio.ensure_future(notes.add("u", "e", n)) for n in range(3)]
    before = told(notes)
    notes.disconnected()
    assert told(notes) == []
    notes.returned(None)
    assert told(notes) == before
    for frame in before:
        notes.replied(Frame("reply", ref=frame["ref"], ok=True, id=str(frame["data"])))
    assert [one.id for one in await asyncio.gather(*kept)] == ["0", "1", "2"]


@pytest.mark.parametrize(("sent", "outcome"), [(True, "unknown"), (False, "nothing")])
async def test_older_than_the_servers_receipts(sent: bool, outcome: str) -> None:
    """It could come twice if it were sent once more; what was never sent surely did not come."""
    notes = online(lifetime=0.05)
    receipt = notes.add("u", "e")
    assert len(told(notes) if sent else []) == sent
    notes.disconnected()
    with pytest.raises(errors.Unavailable) as caught:
        await receipt
    assert caught.value.outcome == outcome
    await asyncio.sleep(0)
    notes.returned(None)
    assert told(notes) == [] and len(notes) == 0


async def test_an_ephemeral_one_is_for_now() -> None:
    notes = online()
    receipt = notes.add("u", "e", durable=False)
    (frame,) = told(notes)
    assert frame["durable"] is False and "idempotency_key" not in frame
    notes.disconnected()
    with pytest.raises(errors.Unavailable) as caught:
        await receipt
    assert caught.value.outcome == "unknown"
    with pytest.raises(errors.Unavailable, match="now or never") as refused:
        notes.add("u", "e", durable=False)
    assert refused.value.outcome == "nothing"


async def test_at_the_end_nobody_waits_for_ever() -> None:
    notes = Notes(2, lambda: None)
    receipt = notes.add("u", "e")
    notes.close()
    with pytest.raises(errors.Unavailable, match="ended") as caught:
        await receipt
    assert caught.value.outcome == "nothing"


async def test_no_more_than_so_many_wait() -> None:
    notes = Notes(2, lambda: None)
    waiting = [notes.add("u", "e") for _ in range(2)]
    with pytest.raises(errors.BufferFull):
        notes.add("u", "e")
    waiting[0].cancel()
    await asyncio.sleep(0)
    waiting.append(notes.add("u", "e"))
    notes.returned(None)
    assert len(told(notes)) == 2, "nobody waits for the cancelled one, and it is not sent"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("too_large", errors.TooLarge),
        ("bad_message", errors.InvalidRequest),
        ("forbidden", errors.Forbidden),
        ("of_tomorrow", errors.Unavailable),
    ],
)
async def test_refusals(code: str, kind: type[errors.GatewayError]) -> None:
    notes = online()
    receipt = notes.add("u", "e")
    (frame,) = told(notes)
    notes.replied(Frame("reply", ref=frame["ref"], error=FrameError(code, "why")))
    with pytest.raises(kind, match="why"):
        await receipt


async def test_what_could_not_be_taken_just_now_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway_client.notes.AGAIN", 0.01)
    woken = asyncio.Event()
    notes = Notes(2, woken.set)
    notes.returned(None)
    receipt = notes.add("u", "e")
    (frame,) = told(notes)
    woken.clear()
    notes.replied(Frame("reply", ref=frame["ref"], error=FrameError("rate_limited")))
    await asyncio.wait_for(woken.wait(), 10)
    assert told(notes) == [frame]
    notes.replied(Frame("reply", ref=frame["ref"], ok=True, id="1"))
    assert (await receipt).id == "1"


async def test_what_is_too_large_or_no_json_does_not_leave() -> None:
    notes = online()
    for user, data, kind in (
        ("u", "x" * 70_000, errors.TooLarge),
        ("u", float("inf"), errors.InvalidRequest),
        ("", 1, errors.InvalidRequest),
    ):
        with pytest.raises(kind):
            notes.add(user, "e", data)
    assert told(notes) == []
