"""One rule for user ids wherever they come in: 42, "42" and the user with that key are one user."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from enum import IntEnum, StrEnum
from functools import partial
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import CommandError, call_command
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe

from sockets import api
from sockets.api.users import as_user
from sockets.auth.tokens import check_token
from sockets.base.ids import new_id, user_id_of
from sockets.conf import Conf
from sockets.consumers.client import ClientConsumer
from sockets.consumers.worker import WorkerConsumer
from sockets.exceptions import InvalidMessage
from sockets.layers import groups
from sockets.node.node import Node
from sockets.types import Notification
from tests.support.asgi_client import GatewayClient
from tests.support.doubles import JWT_SECRET, WORKER_KEY, local_session, running_node
from tests.support.patience import PATIENCE

KEY = "the backend's own key"
SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")


class Number(IntEnum):
    KIM = 42


class Name(StrEnum):
    KIM = "42"


def saved(pk: Any = 42) -> User:
    """As it came from the database."""
    return User.from_db("default", ["id", "username"], [pk, "kim"])


class Customer(User):
    """As projects add methods to theirs."""

    class Meta:
        app_label = "shop_of_the_tests"
        proxy = True


def looked_at(user: Any) -> Any:
    assert user.pk == 42
    return user


def deferred() -> User:
    """As `User.objects.only("pk")` has it: another field would ask the database."""
    found = User.from_db("default", ["id"], [42])
    assert "username" in found.get_deferred_fields()
    return found


WHO: dict[str, Any] = {
    "a string": "42",
    "an int": 42,
    "a string that is safe HTML": mark_safe("42"),
    "an enum of ints": Number.KIM,
    "an enum of strings": Name.KIM,
    "a user": saved(),
    "request.user": SimpleLazyObject(saved),
    "request.user, seen before": looked_at(SimpleLazyObject(saved)),
    "a lazy one of a lazy one": SimpleLazyObject(lambda: SimpleLazyObject(saved)),
    "a proxy of the model": Customer.from_db("default", ["id", "username"], [42, "kim"]),
    "a user whose fields are deferred": deferred(),
    "only a primary key": User.from_db("default", ["id"], [42]),
}

NOBODY: dict[str, tuple[Any, str]] = {
    "None": (None, "None"),
    "a bool": (True, "bool"),
    "no text": ("", "empty"),
    "too long": ("x" * 1_025, "too long"),
    "too many digits": (10**1_024, "too many digits"),
    "half an emoji": ("\ud83c", "UTF-8"),
    "bytes": (b"42", "bytes"),
    "a float": (42.0, "float"),
    "a list": (["42"], "list"),
    "another model": (Group(pk=42), "Group: pass the user"),
    "an unsaved user": (User(username="kim"), "not saved: save it"),
    "an unsaved proxy": (Customer(pk=42), "Customer is not saved"),
    "request.user, unsaved": (SimpleLazyObject(lambda: User(pk=42)), "not saved"),
    "an unsaved user with a key": (User(pk=42, username="kim"), "not saved"),
    "a deleted user": (saved(None), "not saved"),
    "nobody": (AnonymousUser(), "AnonymousUser.*is_authenticated"),
    "request.user, nobody": (SimpleLazyObject(AnonymousUser), "AnonymousUser.*is_authenticated"),
    "a class": (User, "type ModelBase"),
}

who = pytest.mark.parametrize("user", WHO.values(), ids=WHO)
nobody = pytest.mark.parametrize(("user", "named"), NOBODY.values(), ids=NOBODY)


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    monkeypatch.setattr("sockets.api.operations.visits_of", lambda user: [])
    keys = {"backend": sha256(KEY.encode()).hexdigest()}
    async with running_node(
        monkeypatch, tmp_path, close_timeout=0.05, api_keys=keys, task_assign_timeout=0.05
    ) as made:
        yield made


# --- the rule


@who
def test_what_a_user_id_may_be(user: Any) -> None:
    found = as_user(user)
    assert found == "42" and type(found) is str


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (SOME_UUID, str(SOME_UUID)),
        (-1, "-1"),
        (0, "0"),
        (10**1_023, "1" + "0" * 1_023),
        ("0042", "0042"),
        (10**5_000, None),
        (True, None),
        (False, None),
    ],
    ids=lambda v: repr(v)[:20] if not isinstance(v, int) or v.bit_length() < 99 else "long",
)
def test_the_one_form(value: Any, found: str | None) -> None:
    assert user_id_of(value) == found


def test_a_user_with_a_uuid_as_key() -> None:
    """Rule 5."""
    assert as_user(saved(SOME_UUID)) == str(SOME_UUID)


@nobody
def test_what_is_no_user_id_is_named(user: Any, named: str) -> None:
    with pytest.raises(InvalidMessage, match=named) as caught:
        as_user(user)
    assert "AUTH_USER_MODEL" in str(caught.value), "it says what would be one"


# --- Python


def _many(user: Any) -> list[Notification]:
    return [Notification("7", "e"), Notification(user, "e")]


PYTHON: dict[str, Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "notify_user": lambda user: ((user, "e"), {}),
    "notify_users": lambda user: (([user, "42"], "e"), {}),
    "notify_batch": lambda user: ((_many(user),), {}),
    "read_stream": lambda user: ((user,), {}),
    "stream_position": lambda user: ((user,), {}),
    "delivery_of": lambda user: ((user, 1), {}),
    "explain_delivery": lambda user: ((user, 1), {}),
    "ledger_of": lambda user: ((user,), {}),
    "forget_user": lambda user: ((user,), {}),
    "is_online": lambda user: ((user,), {}),
    "sessions_of": lambda user: ((user,), {}),
    "presence_of": lambda user: ((user,), {}),
    "presence_of_users": lambda user: (([user, "7"],), {}),
    "wait_until_online": lambda user: ((user, 0), {}),
    "disconnect_user": lambda user: ((user,), {}),
    "block_user": lambda user: ((user,), {}),
    "unblock_user": lambda user: ((user,), {}),
    "revoke": lambda user: ((user,), {}),
    "user_report": lambda user: ((user,), {}),
    "trace_user": lambda user: ((user,), {}),
    "read_trace": lambda user: ((user,), {}),
    "end_trace": lambda user: ((user,), {}),
}
FACES = [name for one in PYTHON for name in (one, f"a{one}")]


def test_no_function_that_takes_a_user_is_missing_here() -> None:
    """Rule 5."""
    import inspect

    takes = {
        name
        for name in api.__all__
        if {"user_id", "user_ids", "notifications"}
        & {*inspect.signature(getattr(api, name)).parameters}
    }
    rest = {"assign_task", "aassign_task", "user_group", "notify_user_on_commit"}  # below
    assert takes == {*FACES} | rest


async def told(name: str, user: Any) -> Any:
    """What the function answers; the sync form is called in a thread, as in a view."""
    arguments, options = PYTHON[name if name in PYTHON else name[1:]](user)
    call = partial(getattr(api, name), *arguments, **options)
    return await call() if name not in PYTHON else await asyncio.to_thread(call)


@who
@pytest.mark.parametrize("name", FACES)
async def test_every_function_takes_it(node: Node, name: str, user: Any) -> None:
    """Rule 5."""
    await told(name, user)
    if "notify" in name:
        assert (await node.streams.head("42")).offset == 1, 'and 42 and "42" are one user'


@pytest.mark.parametrize("user", [SOME_UUID, saved(SOME_UUID)], ids=["a UUID", "a user"])
@pytest.mark.parametrize("name", FACES)
async def test_every_function_takes_a_uuid(node: Node, name: str, user: Any) -> None:
    """Rule 5: and answers with the string."""
    answer = await told(name, user)
    if "notify" in name:
        assert (await node.streams.head(str(SOME_UUID))).offset == 1
    if name.endswith("presence_of"):
        assert answer.user == str(SOME_UUID)
    if name.endswith("presence_of_users"):
        assert list(answer.users) == [str(SOME_UUID), "7"]


@pytest.mark.parametrize("name", ["notify_users", "presence_of_users"])
@pytest.mark.parametrize(
    "user", [saved(), SimpleLazyObject(saved), SOME_UUID, "42", b"42"], ids=str
)
async def test_one_user_is_no_list_of_users(node: Node, name: str, user: Any) -> None:
    """Rule 5: `request.user` too, which says of itself that it can be iterated."""
    rest = ["e"] if name == "notify_users" else []
    with pytest.raises(InvalidMessage, match="a list of user ids"):
        await getattr(api, f"a{name}")(user, *rest)
    with pytest.raises(InvalidMessage, match="a list of user ids"):
        await asyncio.to_thread(getattr(api, name), user, *rest)


@nobody
@pytest.mark.parametrize("name", FACES)
async def test_every_function_refuses_it(node: Node, name: str, user: Any, named: str) -> None:
    """Rule 5."""
    with pytest.raises(InvalidMessage, match=named):
        await told(name, user)


async def test_answers_are_keyed_by_the_string(node: Node) -> None:
    """Rule 5."""
    answer = await api.apresence_of_users([42, "42", saved(), 7])
    assert list(answer.users) == ["42", "7"]
    assert (await api.apresence_of(42)).user == "42"
    first, again = await api.anotify_users([42, "42"], "e")
    assert first == again
    known = await api.anotify_user("42", "e", idempotency_key="k")
    assert (await api.anotify_user(saved(), "e", idempotency_key="k")).id == known.id


async def test_a_wrong_one_of_a_batch_is_named_by_its_place(node: Node) -> None:
    with pytest.raises(InvalidMessage, match=r"notification 1: .*None"):
        await api.anotify_batch(_many(None))
    assert (await node.streams.head("7")).offset == 0


async def test_a_user_who_must_be_asked_for_is_asked_for_where_the_caller_is(node: Node) -> None:
    asked: list[bool] = []

    def user() -> User:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asked.append(True)
            return saved()
        raise SynchronousOnlyOperation("as the database has it")

    def lazy() -> Any:
        return SimpleLazyObject(user)

    await asyncio.to_thread(api.notify_user, lazy(), "e")
    assert asked == [True]
    with pytest.raises(SynchronousOnlyOperation, match=r"request\.auser"):
        await api.anotify_user(lazy(), "e")


async def test_tasks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 5."""
    for assign in (api.aassign_task, partial(asyncio.to_thread, api.assign_task)):
        with pytest.raises(InvalidMessage, match=r"AUTH_USER_MODEL.*bool"):
            await assign("p", "e", user_id=True)
    asked: list[Any] = []

    async def note(*_: Any, user_id: Any, **__: Any) -> None:
        asked.append(user_id)

    monkeypatch.setattr(node.dispatcher, "assign", note)
    for user in (None, *WHO.values()):
        await api.aassign_task("p", "e", user_id=user)
    assert asked == [None, *["42"] * len(WHO)]


@pytest.mark.django_db(transaction=True)
def test_on_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("sockets.api.messages.current_node", object)
    monkeypatch.setattr(
        "sockets.api.messages.notify_user", lambda user, *_, **__: sent.append(user)
    )
    for user in WHO.values():
        api.notify_user_on_commit(user, "e")
    assert sent == ["42"] * len(WHO)
    for user, named in NOBODY.values():
        with pytest.raises(InvalidMessage, match=named):
            api.notify_user_on_commit(user, "e")


def test_user_group() -> None:
    """Rule 5."""
    assert {api.user_group(user) for user in WHO.values()} == {"u.42"}
    assert groups.user_group(42) == "u.42"
    assert api.user_group(SOME_UUID) == f"u.{SOME_UUID}"
    for user, named in NOBODY.values():
        with pytest.raises(InvalidMessage, match=named):
            api.user_group(user)


# --- HTTP

JSON_NOBODY: list[Any] = [None, True, 4.5, 42.0, "", {}, ["42"], 10**1_024]


async def post(path: str, **body: Any) -> tuple[int, Any]:
    response = await GatewayClient().post(
        f"/api/v1{path}",
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return response.status_code, json.loads(response.content)


async def test_http_bodies(node: Node) -> None:
    status, answer = await post("/messages/batch", messages=[{"user": 42, "event": "e"}])
    assert status == 200 and (await node.streams.head("42")).offset == 1, answer
    status, answer = await post("/presence", users=[42, "42", 7])
    assert status == 200 and list(answer["users"]) == ["42", "7"]
    status, answer = await post("/tasks", pool="p", event="e", user=42)
    assert status == 503, "nobody is there to do it, and that is all"


@pytest.mark.parametrize("user", JSON_NOBODY, ids=lambda v: repr(v)[:12])
async def test_http_bodies_that_name_nobody(node: Node, user: Any) -> None:
    wrong = 400 if user == 10**1_024 else 422  # a number that no float holds is no JSON here
    assert (await post("/messages/batch", messages=[{"user": user, "event": "e"}]))[0] == wrong
    assert (await post("/presence", users=[user]))[0] == wrong
    if user is not None:
        assert (await post("/tasks", pool="p", event="e", user=user))[0] == wrong


def test_the_document_says_so() -> None:
    from sockets.http.api import api as http

    schemas = http.get_openapi_schema(path_prefix="/api/v1/")["components"]["schemas"]
    for schema, member in (("BatchMessageIn", "user"), ("TaskIn", "user"), ("PresenceIn", "users")):
        written = json.dumps(schemas[schema]["properties"][member])
        assert '"integer"' in written and '"string"' in written, (schema, written)


# --- sockets


async def opened(socket: WebsocketCommunicator) -> Any:
    await socket.connect(timeout=PATIENCE)
    return await socket.receive_json_from(timeout=PATIENCE)


@pytest.fixture
async def worker(node: Node) -> AsyncIterator[WebsocketCommunicator]:
    headers = [(b"authorization", f"Bearer {WORKER_KEY}".encode())]
    path = f"/?worker_id={new_id()}"
    made = WebsocketCommunicator(WorkerConsumer.as_asgi(), path, headers=headers)
    await opened(made)
    yield made
    await made.disconnect()


async def ask(socket: WebsocketCommunicator, **frame: Any) -> Any:
    await socket.send_to(json.dumps(frame))
    return await socket.receive_json_from(timeout=PATIENCE)


async def test_worker_frames(node: Node, worker: WebsocketCommunicator) -> None:
    session = local_session("42")
    await node.sessions.open_client(session, None)
    assert (await ask(worker, type="presence", user=42, ref=1))["online"] is True
    told = await ask(worker, type="notify", user=42, event="e", idempotency_key="k", ref=2)
    again = await ask(worker, type="notify", user="42", event="e", idempotency_key="k", ref=3)
    assert (told["id"], again["duplicate"]) == (again["id"], True)
    assert (await ask(worker, type="attach", user=42, ref=4))["ok"]
    group = groups.worker_group("42")
    assert node.hub.room(group) is not None
    assert (await ask(worker, type="detach", user="42", ref=5))["ok"]
    assert node.hub.room(group) is None


@pytest.mark.parametrize("user", JSON_NOBODY, ids=lambda v: repr(v)[:12])
@pytest.mark.parametrize("type", ["notify", "presence", "attach", "detach"])
async def test_worker_frames_that_name_nobody(
    worker: WebsocketCommunicator, type: str, user: Any
) -> None:
    answer = await ask(worker, type=type, user=user, event="e", ref=1)
    assert (answer["ok"], answer["ref"], answer["error"]["code"]) == (False, 1, "bad_message")


async def test_a_token_with_a_number(node: Node) -> None:
    token = jwt.encode({"sub": "42", "exp": 4e9} | {"sub": 42}, JWT_SECRET)
    assert check_token(token, Conf(jwt_secret=JWT_SECRET)).subject == "42"
    headers = [(b"authorization", f"Bearer {token}".encode())]
    path = f"/?user_id=42&client_id={new_id()}"
    tab = WebsocketCommunicator(ClientConsumer.as_asgi(), path, headers=headers)
    assert (await opened(tab))["user"] == "42"
    assert await api.ais_online(42)
    await tab.disconnect()


# --- commands


async def test_commands(node: Node) -> None:
    """Rule 5."""
    out = StringIO()

    async def run(name: str, *args: Any, **options: Any) -> None:
        await asyncio.to_thread(call_command, name, *args, stdout=out, **options)

    await run("notify", 42, "e")
    await run("notify", saved().pk, "e")
    assert (await node.streams.head("42")).offset == 2
    for user in ("42", 42, saved()):
        await run("sessions", user=user)
    assert out.getvalue().count("user 42: offline") == 3
    for command in (("notify", "", "e"), ("sessions", "--user", "")):
        with pytest.raises(CommandError, match="a user id is"):
            await run(*command)
