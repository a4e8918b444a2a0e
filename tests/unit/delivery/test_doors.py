"""Every way to notify somebody takes every option, and puts them into the same Notification."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from django.core.management import call_command, load_command_class

from sockets import api
from sockets.delivery.hub import LocalSession
from sockets.exceptions import InvalidMessage
from sockets.http.schemas import BatchMessageIn, MessageIn
from sockets.node.node import Node
from sockets.protocol.codec import decode_worker
from sockets.protocol.messages import Notify
from sockets.streams.base import Appended, NewEntry
from sockets.types import Notification, NotifyOptions
from tests.support.asgi_client import GatewayClient
from tests.support.doubles import WELCOME, local_session, outbox_of, running_node

OPTIONS = get_type_hints(NotifyOptions)
KEY = "the backend's own key"

Door = Callable[[Node, dict[str, Any]], Awaitable[Any]]


async def post(path: str, body: dict[str, Any]) -> None:
    response = await GatewayClient().generic(
        "POST",
        f"/api/v1{path}",
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    if response.status_code == 422:
        raise InvalidMessage(json.loads(response.content)["detail"])
    assert response.status_code == 200, response.content


async def by_frame(node: Node, given: dict[str, Any]) -> None:
    frame = json.dumps({"type": "notify", "user": "42", "event": "e", "data": 1} | given)
    message = decode_worker(frame)
    assert isinstance(message, Notify)
    await node.notifier.send(message.notification())


def command(given: dict[str, Any]) -> None:
    flags = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    ephemeral = ["--ephemeral"] if not flags.pop("--durable") else []
    chosen = [str(part) for pair in flags.items() for part in pair]
    call_command("notify", "42", "e", "1", *ephemeral, *chosen, stdout=StringIO())


DOORS: dict[str, Door] = {
    "notify_user": lambda _, given: asyncio.to_thread(api.notify_user, "42", "e", 1, **given),
    "anotify_user": lambda _, given: api.anotify_user("42", "e", 1, **given),
    "notify_users": lambda _, given: asyncio.to_thread(api.notify_users, ["42"], "e", 1, **given),
    "anotify_users": lambda _, given: api.anotify_users(["42"], "e", 1, **given),
    "anotify_batch": lambda _, given: api.anotify_batch([Notification("42", "e", 1, **given)]),
    "on_commit": lambda _, given: asyncio.to_thread(
        api.notify_user_on_commit, "42", "e", 1, **given
    ),
    "http": lambda _, given: post("/users/42/messages", {"event": "e", "data": 1} | given),
    "http batch": lambda _, given: post(
        "/messages/batch", {"messages": [{"user": "42", "event": "e", "data": 1} | given]}
    ),
    "worker": by_frame,
    "command": lambda _, given: asyncio.to_thread(command, given),
}


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    keys = {"backend": sha256(KEY.encode()).hexdigest()}
    async with running_node(monkeypatch, tmp_path, api_keys=keys) as made:
        yield made


@pytest.fixture
def appended(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[NewEntry]:
    """What comes to the streams."""
    found: list[NewEntry] = []
    append = node.streams.append

    async def noted(user: str, entry: NewEntry) -> Appended:
        found.append(entry)
        return await append(user, entry)

    monkeypatch.setattr(node.streams, "append", noted)  # `append_many` goes by it, too
    return found


async def tab(node: Node) -> LocalSession:
    session = local_session("42")
    opened = await node.sessions.open_client(session, None)
    node.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    return session


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", DOORS)
async def test_every_option_comes_through_every_door(
    node: Node, appended: list[NewEntry], door: str
) -> None:
    mine, other = await tab(node), await tab(node)
    given = {
        "durable": True,
        "ttl": 5.5,
        "collapse_key": "c",
        "idempotency_key": "i",
        "exclude_client": mine.info.client_id,
    }
    assert given.keys() == OPTIONS.keys()
    await DOORS[door](node, given)
    (entry,) = appended
    assert {name: getattr(entry, name) for name in given if name != "durable"} == {
        name: value for name, value in given.items() if name != "durable"
    }
    heard = [frame["type"] for frame in outbox_of(mine).frames]
    assert [type for type in heard if type != "ping"] == ["position"]
    assert outbox_of(other).events == ["e"] and outbox_of(other).frames[0]["data"] == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", DOORS)
async def test_an_ephemeral_one_spares_the_client_that_caused_it(
    node: Node, appended: list[NewEntry], door: str
) -> None:
    mine, other = await tab(node), await tab(node)
    given = {"durable": False, "exclude_client": mine.info.client_id}
    await DOORS[door](node, given)
    assert appended == [] and outbox_of(mine).events == []
    assert outbox_of(other).events == ["e"]


BROADCASTS: dict[str, Door] = {
    "broadcast": lambda _, given: asyncio.to_thread(api.broadcast, "e", 1, **given),
    "abroadcast": lambda _, given: api.abroadcast("e", 1, **given),
    "http": lambda _, given: post("/broadcast", {"event": "e", "data": 1} | given),
}


@pytest.mark.parametrize("door", BROADCASTS)
async def test_a_broadcast_spares_the_client_that_caused_it(node: Node, door: str) -> None:
    mine, other = await tab(node), await tab(node)
    await BROADCASTS[door](node, {"exclude_client": mine.info.client_id.lower()})
    assert (outbox_of(mine).events, outbox_of(other).events) == ([], ["e"])
    for wrong in ("x" * 26, "", 7):
        with pytest.raises(InvalidMessage, match="exclude_client"):
            await BROADCASTS[door](node, {"exclude_client": wrong})


# --- nobody forgets an option


def test_a_notification_has_the_options() -> None:
    hints = get_type_hints(Notification)
    rest = {name: hints[name] for name in (one.name for one in fields(Notification))}
    assert list(rest)[:3] == ["user_id", "event", "data"]
    assert {name: hint for name, hint in rest.items() if name in OPTIONS} == OPTIONS
    assert rest.keys() - OPTIONS == {"user_id", "event", "data"}


def test_the_frame_has_them() -> None:
    assert set(Notify.__struct_fields__) == OPTIONS.keys() | {"user", "event", "data", "ref"}


def test_the_bodies_have_them() -> None:
    assert MessageIn.model_fields.keys() == OPTIONS.keys() | {"event", "data"}
    assert BatchMessageIn.model_fields.keys() == MessageIn.model_fields.keys() | {"user"}


def test_the_command_has_them() -> None:
    parser: Any = load_command_class("sockets", "notify").create_parser("manage.py", "notify")
    given = vars(parser.parse_args(["42", "e"]))
    assert OPTIONS.keys() - given.keys() == {"durable"} and given["ephemeral"] is False


def test_an_option_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"^got an unexpected keyword argument 'durble'$"):
        asyncio.run(api.anotify_user("42", "e", durble=True))  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["notify_user", "notify_users", "notify_user_on_commit"])
def test_type_checkers_see_them(name: str) -> None:
    rest = inspect.signature(inspect.unwrap(getattr(api, name))).parameters["options"]
    assert rest.kind is rest.VAR_KEYWORD and rest.annotation == "Unpack[NotifyOptions]"


@pytest.mark.parametrize("name", ["notify_user", "notify_users", "anotify_user", "anotify_users"])
def test_documents_show_each(name: str) -> None:
    takes = inspect.signature(getattr(api, name)).parameters
    assert takes.keys() - OPTIONS.keys() == {*list(takes)[:3]}
    assert takes["durable"].default is True and takes["ttl"].default is None
