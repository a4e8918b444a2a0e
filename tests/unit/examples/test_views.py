"""The API server's part, without a gateway: what it would tell is kept instead."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import jwt
import pytest
from django.conf import LazySettings
from django.http import HttpResponse
from django.test import AsyncClient
from django.utils.translation import get_language

from examples.image_converter import assigner, downloads, views
from examples.image_converter import desk as desk_module
from examples.image_converter.convert import Wish
from examples.image_converter.desk import Desk, desk
from examples.image_converter.formats import FORMATS
from examples.image_converter.jobs import Jobs, Limits, Refused
from examples.image_converter.records import Job
from examples.image_converter.visitors import COOKIE
from sockets.conf import get_conf
from sockets.exceptions import GatewayUnavailable
from sockets.types import PoolLoad, Position
from tests.support.gateway import ROOT
from tests.unit.examples.conftest import MADE, make_files

ORIGIN = "http://testserver"
PLACE = "examples/image_converter"
SOCKET, WORKERS = "ws://testserver:4000", "wss://inside.test:4001"


class Told(list[tuple[str, str, dict[str, Any]]]):
    """What `anotify_user` was called with. `cancelled`: tasks. `error`: raised instead, if set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.cancelled: list[str] = []

    async def notify(
        self, user: str, event: str, data: dict[str, Any], *, collapse_key: str
    ) -> None:
        if self.error:
            raise self.error
        self.append((user, event, data))

    async def cancel(self, task: str) -> bool:
        if self.error:
            raise self.error
        self.cancelled.append(task)
        return True


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: LazySettings) -> Told:
    settings.GATEWAY = {**settings.GATEWAY, "data_dir": tmp_path}
    told = Told()

    async def position(user: str) -> Position:
        return Position("epoch", len(told))

    monkeypatch.setattr(desk_module, "anotify_user", told.notify)
    monkeypatch.setattr(views, "acancel_task", told.cancel)
    monkeypatch.setattr(assigner, "acancel_task", told.cancel)
    monkeypatch.setattr(views, "astream_position", position)
    monkeypatch.setattr(views, "client_socket_url", lambda: SOCKET)
    monkeypatch.setattr(views, "worker_socket_url", lambda: WORKERS)
    return told


@pytest.fixture
async def browser() -> AsyncClient:
    """A visitor who has opened the page."""
    return await visit()


async def visit() -> AsyncClient:
    client = AsyncClient()
    response = await client.get("/demo/")
    assert response.status_code == 200
    return client


async def upload(
    client: AsyncClient,
    content: bytes = b"image",
    *,
    origin: str | None = ORIGIN,
    language: str = "",
    **query: str,
) -> Any:
    query = {"format": "webp", "name": "cat.png", **query}
    path = "/demo/jobs?" + "&".join(f"{name}={value}" for name, value in query.items())
    given = {"origin": origin, "accept-language": language}
    headers = {name: value for name, value in given.items() if value}
    return await client.post(
        path, data=content, content_type="application/octet-stream", headers=headers
    )


async def test_the_page(browser: AsyncClient) -> None:
    response = await browser.get("/demo/")
    text = response.content.decode()
    assert f'data-socket-url="{SOCKET}"' in text
    for format in FORMATS.values():
        assert f'data-label="{format.label}"' in text
    assert f"connect-src 'self' {SOCKET};" in response["Content-Security-Policy"]
    assert "unsafe-inline" not in response["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text), (
        "the CSP forbids"
    )
    cookie = browser.cookies[COOKIE]
    assert (cookie["path"], cookie["samesite"]) == ("/demo/", "Lax")
    assert cookie["httponly"]


async def test_it_says_what_it_is_and_where_its_code_and_the_admin_are(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (await browser.get("/demo/")).content.decode()
    assert "This is the gateway’s example." in text
    assert f"<code>{PLACE}/</code>" in text and (ROOT / PLACE / "views.py").is_file()
    assert '<a href="https://inside.test:4001/admin/">Admin</a>' in text
    monkeypatch.setattr(views, "worker_socket_url", lambda: "ws://localhost:4001")
    assert views.admin_url() == "http://localhost:4001/admin/"


@pytest.mark.parametrize(
    ("asked", "language", "word", "animal"),
    [
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko", "이미지 변환기", "수달"),
        ("fr,ko;q=0.1", "ko", "이미지 변환기", "수달"),
        ("en-US,ko;q=0.9", "en", "Image converter", "Otter"),
        ("de-DE", "en", "Image converter", "Otter"),
        ("*", "en", "Image converter", "Otter"),
        (None, "en", "Image converter", "Otter"),
    ],
)
async def test_the_page_speaks_the_language_of_the_browser(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, language: str, word: str, animal: str
) -> None:
    monkeypatch.setattr(views, "new_visitor", lambda: "brave-otter-1")
    headers = {} if asked is None else {"accept-language": asked}
    response = await AsyncClient().get("/demo/", headers=headers)
    text = response.content.decode()
    assert f'<html lang="{language}">' in text
    assert f"<title>{word}</title>" in text and f"{animal}</strong>" in text
    assert "Accept-Language" in response["Vary"]
    assert get_language() == "en-us", "nothing of it stays"


async def test_a_korean_page_has_no_english_sentence_left() -> None:
    response = await AsyncClient().get("/demo/", headers={"accept-language": "ko"})
    text = re.sub(r"<(code|svg|strong)\b.*?</\1>", "", response.content.decode(), flags=re.S)
    text = re.sub(r"<[^>]+>", "\n", text)
    assert not re.findall(r"[A-Za-z]+ [a-z]+ [a-z]+", text)


@pytest.mark.parametrize(
    ("query", "content", "text"),
    [
        ({}, b"", "빈 파일입니다."),
        ({"format": "exe"}, b"x", "제공되는 형식 중에서 선택하십시오."),
        ({"side": "99999"}, b"x", "크기는 1에서 20,000픽셀 사이로 입력하십시오."),
        ({}, b"x" * 101, "파일이 너무 큽니다. 최대 0 MB까지 올릴 수 있습니다."),
    ],
)
async def test_a_refusal_is_in_the_language_of_the_browser(
    browser: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    query: dict[str, str],
    content: bytes,
    text: str,
) -> None:
    small = Desk(Jobs(tmp_path, Limits(upload=100)))
    monkeypatch.setattr(views, "desk", lambda: small)
    response = await upload(browser, content, language="ko", **query)
    assert json.loads(response.content)["error"]["message"] == text
    foreign = await upload(browser, origin="http://evil.example", language="ko")
    assert json.loads(foreign.content)["error"]["message"] == "다른 사이트에서 보낸 요청입니다."


async def test_a_job_remembers_the_language_of_its_upload(browser: AsyncClient) -> None:
    for language, kept in (("ko-KR", "ko"), ("de", "en"), ("", "en")):
        response = await upload(browser, language=language)
        job = desk().jobs.get(
            json.loads(response.content)["id"], browser.cookies[COOKIE].value.split(":")[0]
        )
        assert job is not None and job.language == kept


async def test_every_tab_of_a_browser_is_one_user_and_others_are_others() -> None:
    one, other = await visit(), await visit()
    first = one.cookies[COOKIE].value.split(":")[0]
    await one.get("/demo/")
    assert one.cookies[COOKIE].value.split(":")[0] == first
    assert other.cookies[COOKIE].value.split(":")[0] != first


@pytest.mark.parametrize("name", [path.name for path in views._ASSETS.iterdir()])
async def test_assets(name: str) -> None:
    client = AsyncClient()
    response = await client.get(f"/demo/assets/{name}")
    assert response.status_code == 200
    again = await client.get(f"/demo/assets/{name}", headers={"if-none-match": response["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("name", ["nothing.js", "views.py", "..%2Fviews.py", "converter.CSS"])
async def test_no_other_file_is_an_asset(name: str) -> None:
    assert (await AsyncClient().get(f"/demo/assets/{name}")).status_code == 404


async def test_a_token_is_the_visitor_s_and_short_lived(browser: AsyncClient) -> None:
    response = await browser.post("/demo/token", headers={"origin": ORIGIN})
    body = response.json()
    claims = jwt.decode(body["token"], get_conf().jwt_secret, algorithms=["HS256"])
    assert body["url"] == SOCKET
    assert claims["sub"] == browser.cookies[COOKIE].value.split(":")[0]
    assert 290 < claims["exp"] - time.time() <= 300
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/demo/token", "/demo/jobs?format=png"])
@pytest.mark.parametrize("origin", [None, "null", "http://evil.example"])
async def test_another_site_cannot_act_for_a_visitor(
    browser: AsyncClient, path: str, origin: str | None
) -> None:
    headers = {} if origin is None else {"origin": origin}
    response = await browser.post(path, headers=headers)
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "foreign_origin"


@pytest.mark.parametrize("cookie", [None, "brave-otter-1", "brave-otter-1:1xVLIm:forged"])
async def test_nobody_gets_nothing(cookie: str | None) -> None:
    client = AsyncClient()
    if cookie:
        client.cookies[COOKIE] = cookie
    for response in (
        await client.get("/demo/jobs"),
        await client.post("/demo/token", headers={"origin": ORIGIN}),
        await upload(client),
    ):
        assert response.status_code == 401


async def test_an_upload_is_queued_and_told(browser: AsyncClient, told: Told) -> None:
    response = await upload(browser, b"12345", ref="tab-7")
    assert response.status_code == 202
    job = json.loads(response.content)
    assert (job["state"], job["source_bytes"], job["ref"]) == ("queued", 5, "tab-7")
    ((user, event, data),) = told
    assert user == browser.cookies[COOKIE].value.split(":")[0]
    assert (event, data) == ("job.queued", job)
    body = (await browser.get("/demo/jobs")).json()
    assert abs(body.pop("now") - time.time()) < 30
    assert body == {"position": {"epoch": "epoch", "offset": 1}, "jobs": [job]}


async def test_the_position_is_taken_before_the_jobs(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def position(user: str) -> Position:
        await upload(browser)  # something happens just then
        return Position("epoch", 0)

    monkeypatch.setattr(views, "astream_position", position)
    body = (await browser.get("/demo/jobs")).json()
    assert len(body["jobs"]) == 1, "else the job would be neither in the list nor in a message"


async def test_a_gateway_that_is_away_does_not_stop_an_upload(
    browser: AsyncClient, told: Told
) -> None:
    told.error = GatewayUnavailable("away")
    assert (await upload(browser)).status_code == 202
    assert len((await browser.get("/demo/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize(
    ("content", "query", "status", "code"),
    [
        (b"x", {"format": "exe"}, 400, "bad_format"),
        (b"x", {"side": "0"}, 400, "bad_side"),
        (b"x", {"side": "wide"}, 400, "bad_number"),
        (b"x", {"quality": "101"}, 400, "bad_quality"),
        (b"", {}, 400, "empty"),
        (b"x" * 101, {}, 413, "too_large"),
    ],
)
async def test_a_bad_upload_is_refused(
    browser: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    told: Told,
    content: bytes,
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    small = Desk(Jobs(tmp_path, Limits(upload=100)))
    monkeypatch.setattr(views, "desk", lambda: small)
    response = await upload(browser, content, **query)
    assert response.status_code == status
    assert json.loads(response.content)["error"]["code"] == code
    assert told == []


async def test_an_upload_that_others_took_the_room_of_is_refused(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: Told
) -> None:
    """They came at the same time, and all found room."""
    small = Desk(Jobs(tmp_path, Limits(per_user=2)))
    monkeypatch.setattr(views, "desk", lambda: small)
    responses = await asyncio.gather(*[upload(browser) for _ in range(6)])
    assert Counter(response.status_code for response in responses) == {202: 2, 429: 4}
    assert len(small.jobs.all()) == 2


async def started(browser: AsyncClient, task: str = "T1", name: str = "cat.png") -> Job:
    """A job of this visitor that a worker has accepted."""
    job = json.loads((await upload(browser, name=name)).content)
    started = desk().jobs.started(job["id"], task)
    assert started is not None
    return started


async def converted(browser: AsyncClient, task: str = "T1", name: str = "cat.png") -> str:
    """The id of a finished job of this visitor."""
    job = await started(browser, task, name)
    make_files(desk().jobs, job, b"the result" * 10_000)
    assert desk().jobs.done(task, MADE)
    return job.id


async def body_of(response: Any) -> bytes:
    return b"".join([chunk async for chunk in response.streaming_content])


async def test_the_result_is_its_owner_s(browser: AsyncClient) -> None:
    job_id = await converted(browser, name="käse.png")
    response = await browser.get(f"/demo/jobs/{job_id}/result")
    content = await body_of(response)
    assert content == b"the result" * 10_000
    assert response["Content-Type"] == "image/webp"
    assert response["Content-Length"] == str(len(content))
    assert response["Content-Disposition"] == "attachment; filename*=utf-8''k%C3%A4se.webp"

    small = await browser.get(f"/demo/jobs/{job_id}/thumbnail?T1")
    assert await body_of(small) == b"thumbnail"
    assert small["Content-Type"] == "image/webp"
    for sent in (response, small):
        assert sent["X-Content-Type-Options"] == "nosniff"
        assert sent["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert sent["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_for_another_visitor_it_does_not_exist(browser: AsyncClient, told: Told) -> None:
    done, working = await converted(browser), await started(browser, "T2")
    stranger = await visit()
    for job_id in (done, working.id):
        assert (await stranger.get(f"/demo/jobs/{job_id}/result")).status_code == 404
        assert (await stranger.get(f"/demo/jobs/{job_id}/thumbnail")).status_code == 404
        for method, path in (("post", "/cancel"), ("post", "/retry"), ("delete", "")):
            ask = getattr(stranger, method)
            answer = await ask(f"/demo/jobs/{job_id}{path}", headers={"origin": ORIGIN})
            assert answer.status_code == 404
    assert (await stranger.get("/demo/jobs")).json()["jobs"] == []
    assert (await stranger.get("/demo/results.zip")).status_code == 404
    states = [job["state"] for job in (await browser.get("/demo/jobs")).json()["jobs"]]
    assert states == ["working", "done"]
    assert told.cancelled == []


@pytest.mark.parametrize("part", ["result", "thumbnail"])
@pytest.mark.parametrize("job_id", ["01M8398SNRB74VBRS1XZNPVY6Q", "..", "x", "0" * 25 + "/"])
async def test_there_is_no_such_job(browser: AsyncClient, job_id: str, part: str) -> None:
    assert (await browser.get(f"/demo/jobs/{job_id}/{part}")).status_code == 404


async def test_there_is_no_result_before_the_end(browser: AsyncClient) -> None:
    job = await started(browser)
    assert (await browser.get(f"/demo/jobs/{job.id}/thumbnail")).status_code == 404
    make_files(desk().jobs, job)
    assert (await browser.get(f"/demo/jobs/{job.id}/result")).status_code == 404
    small = await browser.get(f"/demo/jobs/{job.id}/thumbnail")
    assert await body_of(small) == b"thumbnail"


async def test_all_results_in_one(browser: AsyncClient) -> None:
    await converted(browser, "T1", "a.png")
    await converted(browser, "T2", "a.jpg")
    gone = await converted(browser, "T3", "b.png")
    desk().jobs.result(desk().jobs.of(visitor(browser))[0]).unlink()
    assert gone
    await upload(browser, name="waiting.png")
    response = await browser.get("/demo/results.zip")
    assert response["Content-Type"] == "application/zip"
    with ZipFile(BytesIO(await body_of(response))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.webp", "a (2).webp"]
        assert archive.read("a.webp") == b"the result" * 10_000


def test_no_two_names_are_the_same() -> None:
    given = ["a.webp", "a.webp", "a (2).webp", "a.webp"]
    assert downloads.distinct(given) == ["a.webp", "a (2).webp", "a (2) (2).webp", "a (3).webp"]


def visitor(browser: AsyncClient) -> str:
    return browser.cookies[COOKIE].value.split(":")[0]


async def ask(browser: AsyncClient, method: str, path: str) -> HttpResponse:
    response: HttpResponse = await getattr(browser, method)(path, headers={"origin": ORIGIN})
    return response


@pytest.mark.parametrize("away", [False, True])
async def test_cancel_and_try_again(browser: AsyncClient, told: Told, away: bool) -> None:
    job = await started(browser)
    told.error = GatewayUnavailable("away") if away else None
    response = await ask(browser, "post", f"/demo/jobs/{job.id}/cancel")
    assert json.loads(response.content)["state"] == "cancelled"
    if not away:
        assert told[-1][1] == "job.cancelled"
        assert told.cancelled == ["T1"]
    response = await ask(browser, "post", f"/demo/jobs/{job.id}/retry")
    assert json.loads(response.content)["state"] == "queued"


async def test_cancelled_too_late_it_stays_as_it_ended(browser: AsyncClient, told: Told) -> None:
    job_id = await converted(browser)
    response = await ask(browser, "post", f"/demo/jobs/{job_id}/cancel")
    assert json.loads(response.content)["state"] == "done"
    assert told.cancelled == []


@pytest.mark.parametrize("away", [False, True])
async def test_removed_it_is_gone(browser: AsyncClient, told: Told, away: bool) -> None:
    job = await started(browser)
    told.error = GatewayUnavailable("away") if away else None
    response = await ask(browser, "delete", f"/demo/jobs/{job.id}")
    assert json.loads(response.content)["state"] == "removed"
    if not away:
        assert told[-1][1] == "job.removed"
        assert told.cancelled == ["T1"]
    assert (await browser.get("/demo/jobs")).json()["jobs"] == []
    assert (await ask(browser, "delete", f"/demo/jobs/{job.id}")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"), [("delete", ""), ("post", "/cancel"), ("post", "/retry")]
)
async def test_another_site_changes_nothing(browser: AsyncClient, method: str, path: str) -> None:
    job = await started(browser)
    for headers in ({}, {"origin": "http://evil.example"}):
        answer = await getattr(browser, method)(f"/demo/jobs/{job.id}{path}", headers=headers)
        assert answer.status_code == 403
    assert desk().jobs.of(visitor(browser)) == [job]


async def test_the_list_shows_nothing_that_is_over(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converted(browser)
    later = time.time() + 3601
    monkeypatch.setattr("examples.image_converter.views.time.time", lambda: later)
    assert (await browser.get("/demo/jobs")).json()["jobs"] == []


async def test_how_many_workers_there_are(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pools() -> list[PoolLoad]:
        return [PoolLoad("image.convert", 2, 5, 1)]

    monkeypatch.setattr(assigner, "aworker_pools", pools)
    assert (await browser.get("/demo/workers")).json() == {"workers": 2, "capacity": 5}


def test_what_is_wished() -> None:
    assert views.wished("webp", "", "") == Wish("webp")
    assert views.wished("webp", "20000", "1") == Wish("webp", 20_000, 1)
    with pytest.raises(Refused):
        views.wished("webp", "20001", "")


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\kim\\cat.png", "cat.png"),
        ('a"b\r\nX: y.png', "abX y.png"),
        ("고양이.png", "고양이.png"),
        ("...", "image"),
        ("", "image"),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
        ("a.b" + "c" * 500, "a.b" + "c" * 8),
    ],
)
def test_names_are_made_harmless(given: str, clean: str) -> None:
    assert views.clean_name(given) == clean
