"""The messages as a whole: what docs and SDKs are generated from must not change unseen."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any, get_args

import msgspec
import pytest

from sockets.protocol import messages as m

FROM_CLIENT = get_args(m.ClientMessage)
FROM_WORKER = get_args(m.WorkerMessage)
TO_PEER = (
    m.Welcome,
    m.WorkerWelcome,
    m.FromClient,
    m.OfferedTask,
    m.TaskCancel,
    m.PositionMoved,
    m.Reset,
    m.Message,
    m.Ping,
    m.Reply,
    m.Closing,
)
TAGGED = {*FROM_CLIENT, *FROM_WORKER, *TO_PEER}


def structs() -> list[type[msgspec.Struct]]:
    return [
        value
        for value in vars(m).values()
        if inspect.isclass(value)
        and issubclass(value, msgspec.Struct)
        and value is not msgspec.Struct
    ]


def members(struct: type[msgspec.Struct]) -> dict[str, bool]:
    """Wire name of each member -> whether it must be there."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(struct)}


def schema(struct: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.schema(struct)["$defs"][struct.__name__]
    return found


@pytest.mark.parametrize(
    ("struct", "tag", "expected"),
    [
        (m.Pong, "pong", {}),
        (m.Ack, "ack", {"epoch": True, "offset": True, "ref": False}),
        (m.Send, "send", {"event": True, "data": False, "ref": False}),
        (m.Refresh, "refresh", {"token": True, "ref": False}),
        (m.Connect, "connect", {"token": True, "ref": False}),
        (m.ListSessions, "sessions", {"ref": False}),
        (
            m.Notify,
            "notify",
            {
                "user": True,
                "event": True,
                "data": False,
                "durable": False,
                "collapse_key": False,
                "ttl": False,
                "idempotency_key": False,
                "exclude_client": False,
                "ref": False,
            },
        ),
        (m.Attach, "attach", {"user": True, "ref": False}),
        (m.Detach, "detach", {"user": True, "ref": False}),
        (m.Presence, "presence", {"user": True, "ref": False}),
        (m.Accept, "accept", {"task": True, "offer": True, "ref": False}),
        (m.Reject, "reject", {"task": True, "offer": True, "ref": False}),
        (m.Progress, "progress", {"task": True, "data": False, "ref": False}),
        (m.Done, "done", {"task": True, "data": False, "ref": False}),
        (m.Failed, "failed", {"task": True, "error": False, "ref": False}),
        (m.Release, "release", {"task": True, "error": False, "ref": False}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_a_peer_must_and_may_write(struct: Any, tag: str, expected: dict[str, bool]) -> None:
    assert struct.__struct_config__.tag == tag
    assert members(struct) == expected
    assert not struct.__struct_config__.forbid_unknown_fields, "unknown members are ignored"


@pytest.mark.parametrize("struct", sorted(TAGGED, key=lambda struct: str(struct)))
def test_every_frame_has_a_schema_with_its_type(struct: Any) -> None:
    described = schema(struct)
    assert described["properties"]["type"] == {"enum": [struct.__struct_config__.tag]}
    assert "type" in described["required"]
    assert described.get("additionalProperties", True) is True, "unknown members are ignored"
    assert described["description"], "the reference page shows the docstring"


def test_the_limits_are_in_the_schema() -> None:
    assert schema(m.Ack)["properties"]["offset"]["minimum"] == 0
    assert schema(m.Ack)["properties"]["epoch"]["maxLength"] == 64
    user = schema(m.Attach)["properties"]["user"]
    assert user == {
        "anyOf": [{"type": "string", "minLength": 1, "maxLength": 1024}, {"type": "integer"}]
    }


SCHEMA = """
import sys, msgspec
from sockets.protocol import messages as m
for union in (m.ClientMessage, m.WorkerMessage):
    sys.stdout.buffer.write(msgspec.json.encode(msgspec.json.schema(union)))
"""


def test_the_schema_does_not_depend_on_the_run() -> None:
    written = [
        subprocess.run(
            [sys.executable, "-c", SCHEMA],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert written[0] == written[1] and b'"notify"' in written[0]


def test_one_type_is_one_message_in_each_direction() -> None:
    for direction in (FROM_CLIENT, FROM_WORKER):
        tags = [struct.__struct_config__.tag for struct in direction]
        assert len(tags) == len(set(tags))


def test_no_struct_is_left_out_of_the_tests() -> None:
    parts = {m.Limits, m.Body, m.Error}
    assert set(structs()) == TAGGED | parts
