"""The language of this project's admin, and that nothing else has one."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory
from django.utils import formats, translation

from gateway.middleware import AdminLocaleMiddleware
from sockets.types import Surface
from tests.support.asgi_client import GatewayClient, project

LOGIN = "/admin/login/"
KOREAN = "ko-KR,ko;q=0.9,en;q=0.8"


@pytest.fixture
def get(monkeypatch: pytest.MonkeyPatch) -> Any:
    whole = project(monkeypatch)

    async def ask(path: str, language: str | None, surface: Surface = Surface.PRIVATE) -> Any:
        headers = {} if language is None else {"accept-language": language}
        return await GatewayClient(surface, whole).get(path, headers=headers)

    return ask


@pytest.mark.parametrize(
    ("asked", "language", "word"),
    [
        (KOREAN, "ko", "게이트웨이"),
        (KOREAN, "ko", "비밀번호"),
        ("de-DE,ko;q=0.5", "ko", "비밀번호"),
        ("en-US,ko;q=0.9", "en", "Password"),
        ("de-DE,fr;q=0.5", "en", "Password"),
        ("\x01;q=no", "en", "Password"),
        (None, "en", "Password"),
    ],
)
async def test_the_admin_speaks_the_language_of_the_browser(
    get: Any, asked: str | None, language: str, word: str
) -> None:
    answer = await get(LOGIN, asked)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert f'lang="{language}' in text and word in text
    assert answer["Content-Language"].startswith(language)
    assert "Accept-Language" in answer["Vary"]


async def test_the_next_request_has_nothing_of_it(get: Any) -> None:
    for asked, word in ((KOREAN, "비밀번호"), (None, "Password"), ("en", "Password")):
        assert word in (await get(LOGIN, asked)).content.decode()
    assert translation.get_language() == "en-us"


def test_nothing_of_it_stays_with_the_thread() -> None:
    """Another request may be served in the same context, of a path that has no language."""
    request = AsyncRequestFactory().get(LOGIN, headers={"accept-language": KOREAN})
    scope: Any = request.scope
    scope["gateway.surface"] = Surface.PRIVATE
    seen: list[str | None] = []

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(translation.get_language())
        return HttpResponse()

    AdminLocaleMiddleware(answer)(request)
    assert (seen, translation.get_language()) == (["ko"], "en-us")


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/healthz", Surface.PUBLIC),
        ("/admin/", Surface.PUBLIC),
        ("/api/v1/nodes", Surface.PRIVATE),
        ("/none", Surface.PRIVATE),
    ],
)
async def test_programs_are_answered_in_english(get: Any, path: str, surface: Surface) -> None:
    korean, english = await get(path, KOREAN, surface), await get(path, None, surface)
    assert korean.content == english.content
    assert "Content-Language" not in korean
    assert "Accept-Language" not in korean.get("Vary", "")


@pytest.mark.parametrize("language", ["en", "en-us", "ko"])
def test_moments_have_the_same_form_everywhere(language: str) -> None:
    """Operators compare them with logs."""
    with translation.override(language):
        assert formats.get_format("DATETIME_FORMAT") == "Y-m-d H:i:s T"
