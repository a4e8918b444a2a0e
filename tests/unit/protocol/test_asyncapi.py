"""What the sockets speak, as documents: made of the structs, and true of what is sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sockets.protocol import messages
from sockets.protocol.asyncapi import asyncapi, json_schema
from sockets.protocol.codec import message_frame

DOCUMENT = asyncapi(
    version="1.2.3", client_url="wss://gateway.example.com/", worker_url="ws://10.0.0.7:4001/ws/w"
)


def referred(value: Any) -> set[str]:
    """Every $ref in it."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(referred, value.values()))
    return set().union(*map(referred, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("document", [DOCUMENT, json_schema()])
def test_every_reference_leads_somewhere(document: Any) -> None:
    assert referred(document)
    for reference in referred(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_frame_is_in_it() -> None:
    frames = {
        struct.__name__
        for struct in vars(messages).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
        if struct is not msgspec.Struct and struct.__struct_config__.tag is not None
    }
    assert DOCUMENT["components"]["messages"].keys() == frames
    assert frames <= json_schema()["$defs"].keys() == DOCUMENT["components"]["schemas"].keys()


def test_where_the_sockets_are() -> None:
    servers, channels = DOCUMENT["servers"], DOCUMENT["channels"]
    assert (servers["client"]["protocol"], servers["client"]["host"]) == (
        *("wss", "gateway.example.com"),
    )
    assert (servers["worker"]["host"], channels["worker"]["address"]) == ("10.0.0.7:4001", "/ws/w")


def test_each_side_says_its_own() -> None:
    def names(operation: str) -> set[str]:
        of = DOCUMENT["operations"][operation]["messages"]
        return {one["$ref"].rpartition("/")[2] for one in of}

    assert "Ack" in names("client.receive") and "Ack" not in names("client.send")
    assert "OfferedTask" in names("worker.send") and "Notify" in names("worker.receive")


@pytest.mark.parametrize(
    "given",
    [{}, {"offset": 7}, {"offset": 7, "prev": 5}, {"missed": 3}, {"offset": 7, "missed": 1}],
)
def test_a_notification_is_as_it_says(given: dict[str, int]) -> None:
    """It is put together by hand: the struct only describes it."""
    body = b'{"id":"01J","event":"e","data":{"a":[1]},"time":1.5}'
    frame = json.loads(message_frame(body, **given).payload)
    read = msgspec.convert(frame, messages.Message, strict=True)
    assert {name: getattr(read, name) for name in given} == given
    known = DOCUMENT["components"]["schemas"]["Message"]["properties"]
    assert frame.keys() <= known.keys()
