"""The admin in Korean, and what stays English: whatever is kept, and what programs read."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.utils import translation

from sockets.admin import keys
from sockets.admin.shown import CODES, close_code, duration
from sockets.auth.key_rows import NAME_RULE, make_key
from sockets.codes import CloseCode
from sockets.exceptions import GatewayUnreachable
from sockets.models import AccessKey, Node, Session
from sockets.types import Kind
from tests.unit.admin.conftest import LIST, NOON, RecordingApi, StaffWith, disconnect

KEYS, NODES = "/admin/sockets/accesskey/", "/admin/sockets/node/"


@pytest.fixture(autouse=True)
def _in_the_language_of_the_browser(settings: LazySettings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]


@pytest.fixture
def korean() -> Iterator[None]:
    with translation.override("ko"):
        yield


@pytest.fixture
def chief(staff: StaffWith) -> Client:
    client = staff(
        *("view_session", "disconnect_session", "view_node"),
        *("view_accesskey", "add_accesskey", "change_accesskey"),
    )
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "ko-KR,ko;q=0.9"
    return client


def shown(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return " ".join(re.sub("<[^>]+>", " ", answer.content.decode()).split())


def test_the_list_of_sessions(chief: Client, add: Callable[..., Session]) -> None:
    add(1)
    add(2, kind="worker", disconnected_at=NOON, close_code=4503, close_reason="another connection")
    text = shown(chief, f"{LIST}?state=all")
    for word in (
        *("게이트웨이", "세션", "상태", "종류", "사용자", "연결 시각", "지속 시간", "노드", "출처"),
        *(
            "활성",
            "종료됨",
            "클라이언트",
            "워커",
            "4503 새 연결로 대체됨",
            "선택한 활성 세션의 연결 해제",
        ),
        "another connection",  # a reason is what was sent
    ):
        assert word in text, word
    for word in ("live", "ended", "duration", "Connected since", "close code", "Disconnect"):
        assert word not in text, word


def test_one_session_and_one_node(chief: Client, add: Callable[..., Session]) -> None:
    row = add(1)
    Node.objects.create(name="node-1", started_at=NOON, seen_at=NOON, pid=7)
    text = shown(chief, f"{LIST}{row.id}/change/")
    for word in (
        "연결 해제",
        "클라이언트 ID",
        "사용자 ID 또는 워커 이름입니다.",
        "종료 사유",
        "위치",
        "시각",
    ):
        assert word in text, word
    text = shown(chief, f"{NODES}node-1/change/")
    for word in (
        "가동 시작",
        "마지막 확인",
        "응답 없음",
        "활성 세션",
        "프로세스 ID",
        "이름",
        "버전",
    ):
        assert word in text, word


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "success: 세션 1개의 연결을 해제했습니다."),
        (GatewayUnreachable("it is away"), "error: 실행하지 못했습니다: it is away"),
    ],
)
def test_what_the_action_says_and_what_it_leaves(
    chief: Client,
    add: Callable[..., Session],
    api: RecordingApi,
    error: GatewayUnreachable | None,
    told: str,
) -> None:
    """The reason goes to the client, the entry into a table: both stay English."""
    api.error = error
    assert disconnect(chief, add(1)) == [told]
    if error is None:
        assert api.calls[0][2] == "disconnected by an operator"
        assert LogEntry.objects.get().change_message == "Disconnected by an operator"


def test_keys(chief: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "keys_changed", lambda: None)
    row, _ = make_key("shop", ["notify"])
    text = shown(chief, KEYS)
    for word in (
        "권한 범위",
        "생성 시각",
        "만료 시각",
        "마지막 사용",
        "활성",
        "선택한 키를 지금 종료",
    ):
        assert word in text, word
    given: dict[str, Any] = {"name": "new", "plain": ["notify"], "pools": ""}
    for wrong, said in (
        ({"name": "a b"}, "이름은 A-Z a-z 0-9 . _ - 문자 1~64자로"),
        ({"plain": []}, "하나 이상 선택하십시오"),
        ({"pools": "a/b"}, "a/b은(는) 풀 이름으로 쓸 수 없습니다"),
        ({"pools": " ".join(f"p{number}" for number in range(40))}, "최대 32개까지"),
    ):
        assert said in chief.post(f"{KEYS}add/", given | wrong).content.decode(), wrong
    made = chief.post(f"{KEYS}add/", given).content.decode()
    assert "<strong>new</strong>의 시크릿입니다(notify)" in made and "키 목록으로" in made
    answer = chief.post(KEYS, {"action": "end", "_selected_action": [row.id]}, follow=True)
    assert "키 1개를 종료했습니다" in answer.content.decode()
    assert AccessKey.objects.get(pk=row.id).state == "ended"


def test_the_lists_without_history(
    chief: Client, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"history": False}
    from tests.unit.admin.test_live import LiveApi

    monkeypatch.setitem(sys.modules, "sockets.api", LiveApi())
    text = shown(chief, NODES)
    for word in ("기록을 보관하지 않습니다", "활성 노드", "비우는 중", "가동 시작", "마지막 확인"):
        assert word in text, word


@pytest.mark.parametrize("language", [None, "de-DE,fr;q=0.8", "en-GB,ko;q=0.9"])
def test_another_language_is_english(
    staff: StaffWith, language: str | None, add: Callable[..., Session]
) -> None:
    add(1)
    client = staff("view_session")
    if language is not None:
        client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    text = shown(client, LIST)
    # German has Django's own words, and ours in English.
    assert "live" in text and "활성" not in text


@pytest.mark.usefixtures("korean")
def test_values() -> None:
    assert duration(timedelta(seconds=192)) == "3분 12초"
    assert duration(timedelta(days=2)) == "2일 0시간"
    assert close_code(4099) == "4099 프로세스 중단"
    assert close_code(3777) == "3777"


def test_close_codes_are_called_what_they_are() -> None:
    assert set(CODES) >= set(CloseCode)
    for code in CloseCode:
        assert str(CODES[code]) == code.name.lower().replace("_", " ")


def test_texts_that_are_said_twice_agree() -> None:
    """In the admin in the reader's language, elsewhere in English."""
    assert NAME_RULE[1:] in "A name has 1 to 64 of A-Z a-z 0-9 . _ -"
    assert [value for value, _ in Session._meta.get_field("kind").choices or ()] == list(Kind)


@pytest.mark.usefixtures("korean")
def test_a_projects_own_words_stay_its_own() -> None:
    """Catalogues of apps are merged: what has no context of ours is not translated by us."""
    for word in ("state", "live", "key", "up", "node", "scopes"):
        assert translation.gettext(word) == word
        assert translation.pgettext("gateway", word) != word


@pytest.mark.django_db
def test_no_migration_comes_of_it() -> None:
    call_command("makemigrations", "sockets", check=True, dry_run=True, verbosity=0)
