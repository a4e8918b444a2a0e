"""The gateway decides as `clients/conformance/` says, where every client can read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from sockets.codes import CloseCode, should_reconnect
from sockets.conf import get_conf
from sockets.consumers.client import ClientConsumer
from sockets.delivery.compose import compose
from sockets.exceptions import BadFrame, MessageTooLarge
from sockets.protocol.codec import decode_client, decode_worker
from sockets.protocol.recovery import Cursor, Deliver, Lost, Moved, plan_opening, steps
from sockets.signatures import sign, verify
from sockets.types import Credentials, Entry, Notification, Page, Position
from tests.support.gateway import ROOT

FOLDER = ROOT / "clients" / "conformance"
FILES = {
    path.name: json.loads(path.read_text())
    for path in sorted(FOLDER.glob("*.json"))
    if path.name != "schema.json"
}
Vector = dict[str, Any]


def ours() -> Iterator[Any]:
    """The vectors of the server's role."""
    for name, file in FILES.items():
        for vector in file["vectors"]:
            if "server" in vector.get("roles", file.get("roles", ())):
                yield pytest.param(file["kind"], vector, id=f"{name}: {vector['name']}")


@pytest.mark.parametrize(("kind", "vector"), list(ours()))
def test_vector(kind: str, vector: Vector) -> None:
    RUN[kind](vector)


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_shape_that_is_told(name: str) -> None:
    file = FILES[name]
    shape = json.loads((FOLDER / "schema.json").read_text())
    Draft202012Validator(shape).validate(file)
    names = [vector["name"] for vector in file["vectors"]]
    assert len(set(names)) == len(names)
    assert "roles" in file or all("roles" in vector for vector in file["vectors"])


def test_every_code_of_ours_has_a_vector() -> None:
    listed = {vector["code"] for vector in FILES["close-codes.json"]["vectors"]}
    assert set(CloseCode) <= listed


def test_the_page_names_every_file() -> None:
    page = (FOLDER / "README.md").read_text()
    assert [name for name in FILES if f"`{name}`" not in page] == []


# --- how each kind is run


def close_code(vector: Vector) -> None:
    assert should_reconnect(vector["code"]) is vector["returns"]


def decode(vector: Vector) -> None:
    read = {"client": decode_client, "worker": decode_worker}[vector["surface"]]
    if "message" in vector:
        found = json.loads(msgspec.json.encode(read(vector["text"])))
        assert found == {**found, **vector["message"]}
    else:
        with pytest.raises(BadFrame) as refused:
            read(vector["text"])
        assert (refused.value.code, refused.value.ref) == (vector["error"], vector["ref"])


def recovery(vector: Vector) -> None:
    if "opening" in vector:
        opening(vector)
    elif "live" in vector:
        live = vector["live"]
        cursor = Cursor(live["at"]["epoch"], live["at"]["offset"], behind=False)
        assert cursor.on_live(live["epoch"], live["offset"]).value == vector["decision"]
    else:
        page(vector)


def opening(vector: Vector) -> None:
    given = vector["opening"]
    position = None if given["position"] is None else Position(**given["position"])
    stream = Page(given["epoch"], given["head"], given["floor"], (), given["missing"])
    found = plan_opening(position, stream, given["limit"])
    assert (found.recovered, asdict(found.start)) == (vector["recovered"], vector["start"])


def page(vector: Vector) -> None:
    given = vector["page"]
    entries = tuple(
        Entry(offset, b"{}", "me" if offset in given["excluded"] else None)
        for offset in given["offsets"]
    )
    stream = Page(given["epoch"], given["head"], given["floor"], entries, len(entries))
    cursor = Cursor(given["at"]["epoch"], given["at"]["offset"])
    assert [told(step) for step in steps(cursor, stream, "me")] == vector["told"]


def told(step: object) -> Vector:
    match step:
        case Deliver(entry, None):
            return {"offset": entry.offset}
        case Deliver(entry, prev):
            return {"offset": entry.offset, "prev": prev}
        case Moved(offset):
            return {"position": offset}
        case Lost(position):
            return {"reset": asdict(position)}
    raise AssertionError(step)


def size(vector: Vector) -> None:
    given = vector["notification"]
    empty = len(compose(Notification("42", "x", data=""), limit=10_000, now=0, id="m").body)
    large = Notification("42", "x", data=given["text"] * given["times"])
    try:
        compose(large, limit=empty + given["limit"], now=0, id="m")
    except MessageTooLarge:
        assert not vector["fits"]
    else:
        assert vector["fits"]


def refresh(vector: Vector) -> None:
    """A token is let in for some seconds longer, for the sake of other clocks; nobody is told."""
    now, ends, grace = 1_000_000.0, vector["issued"]["ends"], vector["issued"]["grace"]
    conf = replace(get_conf(), token_grace=grace, jwt_leeway=10.0)
    for method, leeway in (("jwt", conf.jwt_leeway), ("session", 0.0)):
        consumer = ClientConsumer()
        consumer.node = SimpleNamespace(conf=conf)  # type: ignore[assignment]
        end = None if ends is None else now + ends + leeway
        consumer.credentials = Credentials("42", method, end)
        assert consumer.expires_in(now) == vector["expires_in"]
        closed = consumer.end_of(consumer.credentials)
        assert (closed and closed - now - leeway) == vector["closed_in"]


def webhook(vector: Vector) -> None:
    body, header = vector["body"], vector.get("header")
    if header is None:
        signed = vector["signed"]
        header = sign(signed["secret"], signed["at"], signed.get("body", body).encode())
    found = any(
        verify(secret, header, body.encode(), now=vector["now"]) for secret in vector["secrets"]
    )
    assert found is vector["valid"]


RUN: dict[str, Callable[[Vector], None]] = {
    one.__name__: one for one in (close_code, decode, recovery, size, refresh, webhook)
}
