"""What Django code has at hand may be sent; what is lazy is evaluated at the call."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import jwt
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.template import engines
from django.utils.functional import SimpleLazyObject, lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, ngettext_lazy, override
from msgspec import Raw

from sockets import api
from sockets.api.data import as_data
from sockets.auth.tokens import check_token
from sockets.conf import Conf
from sockets.exceptions import InvalidMessage, Unauthorized
from sockets.node.node import Node
from sockets.types import Notification
from tests.support.doubles import JWT_SECRET, running_node

YES = gettext_lazy("Yes")


class Text(str):
    """A subclass."""


class Number(int):
    """A subclass."""


class Fraction(float):
    """A subclass."""


class Level(IntEnum):
    HIGH = 3


class Colour(StrEnum):
    RED = "red"


@dataclass
class Order:
    title: Any


def rendered() -> str:
    return engines["django"].from_string("<b>{{ x }}</b>").render({"x": "a & b"})


class Row(NamedTuple):
    a: int
    b: object


DATA: dict[str, tuple[Any, Any]] = {
    "safe HTML": (mark_safe("<b>"), "<b>"),
    "a rendered template": (rendered(), "<b>a &amp; b</b>"),
    "lazy text": (YES, "Yes"),
    "lazy text that counts": (ngettext_lazy("%d day", "%d days", 2) % 2, "2 days"),
    "lazy text as a key": ({YES: [YES]}, {"Yes": ["Yes"]}),
    "subclasses": ([Text("a"), Number(1), Fraction(1.5)], ["a", 1, 1.5]),
    "subclasses as keys": ({Text("a"): {Number(1): 2}}, {"a": {"1": 2}}),
    "enums": ([Level.HIGH, Colour.RED, {Colour.RED: 1}], [3, "red", {"red": 1}]),
    "dicts and lists": ([OrderedDict(a=1), defaultdict(list, b=[])], [{"a": 1}, {"b": []}]),
    "a lazy object": (SimpleLazyObject(lambda: {"a": YES}), {"a": "Yes"}),
    "a lazy lazy object": (SimpleLazyObject(lambda: SimpleLazyObject(lambda: "a")), "a"),
    "a dataclass": (Order(YES), {"title": "Yes"}),
    "rows": (Row(1, mark_safe("x")), [1, "x"]),
    "what is taken anyway": (
        [datetime(2026, 1, 2, tzinfo=UTC), UUID(int=7), Decimal("1.50"), b"a", {1}, (2,), None],
        [
            "2026-01-02T00:00:00Z",
            "00000000-0000-0000-0000-000000000007",
            "1.50",
            "YQ==",
            [1],
            [2],
            None,
        ],
    ),
    "nothing of NaN": (
        ["NaN", "nan", {"Infinity": None}, 1e308, 2**70, Decimal("1e999")],
        ["NaN", "nan", {"Infinity": None}, 1e308, 2**70, "1E+999"],
    ),
}

NEVER: dict[str, tuple[Any, str]] = {
    "NaN": (float("nan"), "NaN"),
    "infinity": (float("inf"), "NaN"),
    "NaN deep within": ([{"a": (None, {float("-inf")})}], "NaN"),
    "NaN in a dataclass": (Order(float("nan")), "NaN"),
    "NaN as a key": ({float("nan"): 1}, "NaN"),
    "NaN of a subclass": (Fraction("nan"), "NaN"),
    "NaN of a lazy object": (SimpleLazyObject(lambda: [float("nan")]), "NaN"),
    "a decimal that is none": (Decimal("NaN"), "NaN"),
    "a decimal that is infinite": ([Decimal("-Infinity")], "NaN"),
    "an integer that no float holds": (10**400, "NaN"),
    "an integer of thousands of digits": (10**5_000, "JSON"),
    "raw JSON": (Raw(b"[1e999]"), "infinite"),
    "raw JSON that is none": (Raw(b"{"), "cannot be read"),
    "raw JSON within": ({"a": None, "b": Raw(b"1e999")}, "infinite"),
    "half an emoji": ("\ud83c", "surrogates"),
    "an object": (object(), "object"),
    "a model": (User(username="kim"), "User is a model"),
    "a lazy model": (SimpleLazyObject(User), "User is a model"),
    "a lazy dict": (lazy(lambda: {"x": 1}, dict)(), "a lazy dict is no text"),
    "a lazy list in data": ({"a": lazy(lambda: [1], list)()}, "a lazy list is no text"),
    "models": (User.objects.all(), r"\.values\(\)"),
}

never = pytest.mark.parametrize(("data", "why"), NEVER.values(), ids=NEVER)


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(monkeypatch, tmp_path, task_assign_timeout=0.05) as made:
        yield made


async def stored(node: Node) -> list[Any]:
    page = await node.streams.read("42", None, 0)
    page = await api.aread_stream("42", epoch=page.epoch)
    return [json.loads(entry.body)["data"] for entry in page.entries]


@pytest.mark.parametrize(("data", "written"), DATA.values(), ids=DATA)
async def test_it_is_sent(node: Node, data: Any, written: Any) -> None:
    assert json.loads(bytes(as_data(data))) == written
    await api.anotify_user("42", "e", data)
    await asyncio.to_thread(api.notify_user, "42", "e", data)
    assert await stored(node) == [written] * 2


DOORS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "notify_user": lambda data: ("42", "e", data),
    "notify_users": lambda data: (["42"], "e", data),
    "notify_batch": lambda data: ([Notification("42", "e", data)],),
    "broadcast": lambda data: ("e", data),
    "assign_task": lambda data: ("p", "e", data),
}


@never
@pytest.mark.parametrize("name", DOORS)
async def test_what_is_no_json_is_refused_at_every_door(
    node: Node, name: str, data: Any, why: str
) -> None:
    with pytest.raises(InvalidMessage, match=why):
        await getattr(api, f"a{name}")(*DOORS[name](data))
    with pytest.raises(InvalidMessage, match=why):
        await asyncio.to_thread(getattr(api, name), *DOORS[name](data))
    assert await stored(node) == []


@never
async def test_the_notifier_itself_refuses_what_is_not_finite(
    node: Node, data: Any, why: str
) -> None:
    """Tasks and workers come to it by other ways."""
    if why == "NaN" and not isinstance(data, SimpleLazyObject):
        with pytest.raises(InvalidMessage, match=why):
            await node.notifier.send(Notification("42", "e", data))


async def test_a_text_is_in_the_language_of_the_call(node: Node) -> None:
    """Also where the coroutine is awaited later, and the loop is another thread's."""
    calls = []
    for language in ("de", "fr"):
        with override(language):
            calls.append(api.anotify_user("42", "e", YES))
            await asyncio.to_thread(_in_language, language)
    for call in calls:
        await call
    assert await stored(node) == ["Ja", "Oui", "Ja", "Oui"]


def _in_language(language: str) -> None:
    with override(language):
        api.notify_user("42", "e", YES)


async def test_data_is_as_it_was_at_the_call(node: Node) -> None:
    data = [1]
    call = api.anotify_user("42", "e", data)
    data.append(2)
    await call
    assert await stored(node) == [[1]]


async def test_a_wrong_argument_is_raised_when_it_is_awaited() -> None:
    calls = [api.anotify_user("42", "e", float("nan")), api.ais_online(None)]  # type: ignore[arg-type]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [InvalidMessage] * 2


# --- a QuerySet


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr("sockets.api.messages.current_node", object)
    monkeypatch.setattr(
        "sockets.api.messages.notify_user",
        lambda user, event, data, **_: calls.append(json.loads(bytes(data))),
    )
    return calls


@pytest.mark.django_db(transaction=True)
def test_a_queryset_is_evaluated_at_the_call(sent: list[Any]) -> None:
    User.objects.create(username="kim")
    users = User.objects.order_by("pk")
    (pk,) = users.values_list("pk", flat=True)
    with transaction.atomic(), override("de"):
        api.notify_user_on_commit("42", "e", {"rows": users.values("username"), "text": YES})
        api.notify_user_on_commit("42", "e", users.values_list("pk", "username"))
        api.notify_user_on_commit("42", "e", users.values_list("pk", flat=True))
        api.notify_user_on_commit("42", "e", users.values_list("pk", named=True))
        users.update(username="lee")
    assert sent == [
        {"rows": [{"username": "kim"}], "text": "Ja"},
        [[pk, "kim"]],
        [pk],
        [[pk]],
    ]


async def test_a_queryset_is_evaluated_in_the_callers_thread_and_not_on_the_loop(
    node: Node,
) -> None:
    rows: Any = User.objects.values("username")
    rows._result_cache = [{"username": "kim"}]  # as if the database had been asked
    await asyncio.to_thread(api.notify_user, "42", "e", rows)
    await asyncio.to_thread(api.notify_batch, [Notification("42", "e", [rows])])
    assert await stored(node) == [[{"username": "kim"}], [[{"username": "kim"}]]]


async def test_async_code_is_told_how(node: Node) -> None:
    for query in (User.objects.values(), {"rows": User.objects.values_list("pk")}):
        with pytest.raises(InvalidMessage, match="async for") as caught:
            await api.anotify_user("42", "e", query)
        assert isinstance(caught.value, SynchronousOnlyOperation)
    assert await stored(node) == []


# --- tokens


@pytest.mark.parametrize("claim", ["info", "meta"])
@pytest.mark.parametrize("value", [float("nan"), [{"a": float("inf")}]], ids=repr)
def test_a_token_with_a_number_that_is_none(claim: str, value: Any) -> None:
    token = jwt.encode({"sub": "42", "exp": 4e9, claim: value}, JWT_SECRET)
    with pytest.raises(Unauthorized, match=claim):
        check_token(token, Conf(jwt_secret=JWT_SECRET))


def test_what_presence_shows_can_be_read_by_all() -> None:
    deep: list[Any] = []
    for _ in range(250):
        deep = [deep]
    token = partial(jwt.encode, key=JWT_SECRET)
    with pytest.raises(Unauthorized, match="nested"):
        check_token(token({"sub": "42", "exp": 4e9, "info": deep}), Conf(jwt_secret=JWT_SECRET))
