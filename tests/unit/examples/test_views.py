"""The API server's part, without a gateway: what it would tell is kept instead."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.conf import LazySettings
from django.http import HttpResponse
from django.test import AsyncClient

from examples.image_converter import views
from examples.image_converter.jobs import JobFolder, Limits
from examples.image_converter.visitors import COOKIE
from sockets.conf import get_conf
from sockets.exceptions import GatewayUnavailable
from sockets.types import Position

ORIGIN = "http://testserver"
SOCKET = "ws://testserver:4000"


class Told(list[tuple[str, str, dict[str, Any]]]):
    """What `anotify_user` was called with; `error` is raised instead, if set."""

    error: Exception | None = None

    async def notify(self, user: str, event: str, data: dict[str, Any]) -> None:
        if self.error:
            raise self.error
        self.append((user, event, data))


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: LazySettings) -> Told:
    settings.GATEWAY = {**settings.GATEWAY, "data_dir": tmp_path}
    told = Told()

    async def position(user: str) -> Position:
        return Position("epoch", len(told))

    monkeypatch.setattr(views, "anotify_user", told.notify)
    monkeypatch.setattr(views, "astream_position", position)
    monkeypatch.setattr(views, "client_socket_url", lambda: SOCKET)
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
    client: AsyncClient, content: bytes = b"image", *, origin: str | None = ORIGIN, **query: str
) -> HttpResponse:
    query = {"format": "webp", "name": "cat.png", **query}
    path = "/demo/jobs?" + "&".join(f"{name}={value}" for name, value in query.items())
    headers = {} if origin is None else {"origin": origin}
    response: HttpResponse = await client.post(
        path, data=content, content_type="application/octet-stream", headers=headers
    )
    return response


async def test_the_page(browser: AsyncClient) -> None:
    response = await browser.get("/demo/")
    text = response.content.decode()
    assert f'data-socket-url="{SOCKET}"' in text
    assert f"connect-src 'self' {SOCKET};" in response["Content-Security-Policy"]
    assert "unsafe-inline" not in response["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text), (
        "the CSP forbids"
    )
    cookie = browser.cookies[COOKIE]
    assert (cookie["path"], cookie["samesite"]) == ("/demo/", "Lax")
    assert cookie["httponly"]


async def test_every_tab_of_a_browser_is_one_user_and_others_are_others() -> None:
    one, other = await visit(), await visit()
    first = one.cookies[COOKIE].value.split(":")[0]
    await one.get("/demo/")
    assert one.cookies[COOKIE].value.split(":")[0] == first
    assert other.cookies[COOKIE].value.split(":")[0] != first


@pytest.mark.parametrize("name", ["converter.css", "converter.js", "rows.js", "icon.svg"])
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
    monkeypatch.setattr(views, "folder", lambda: JobFolder(tmp_path, Limits(upload=100)))
    response = await upload(browser, content, **query)
    assert response.status_code == status
    assert json.loads(response.content)["error"]["code"] == code
    assert told == []


async def converted(browser: AsyncClient, name: str = "cat.png") -> str:
    """The id of a finished job of this visitor."""
    job = json.loads((await upload(browser, name=name)).content)
    claim = views.folder().claim(time.time())
    assert claim is not None
    claim.result.write_bytes(b"the result" * 10_000)
    claim.done()
    return str(job["id"])


async def test_the_result_is_its_owner_s(browser: AsyncClient) -> None:
    job_id = await converted(browser, name="käse.png")
    response = await browser.get(f"/demo/jobs/{job_id}/result")
    content = b"".join([chunk async for chunk in response.streaming_content])
    assert content == b"the result" * 10_000
    assert response["Content-Type"] == "image/webp"
    assert response["Content-Length"] == str(len(content))
    assert response["Content-Disposition"] == "attachment; filename*=utf-8''k%C3%A4se.webp"
    assert response["X-Content-Type-Options"] == "nosniff"

    stranger = await visit()
    assert (await stranger.get(f"/demo/jobs/{job_id}/result")).status_code == 404
    assert (await stranger.get("/demo/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("job_id", ["01M8398SNRB74VBRS1XZNPVY6Q", "..", "x", "0" * 25 + "/"])
async def test_there_is_no_such_result(browser: AsyncClient, job_id: str) -> None:
    assert (await browser.get(f"/demo/jobs/{job_id}/result")).status_code == 404


async def test_the_list_forgets_what_is_over(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converted(browser)
    later = time.time() + 3601
    monkeypatch.setattr(views.time, "time", lambda: later)
    assert (await browser.get("/demo/jobs")).json()["jobs"] == []


async def test_the_list_puts_back_what_a_dead_worker_left(
    browser: AsyncClient, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upload(browser)
    assert views.folder().claim(time.time()) is not None
    later = time.time() + 60
    monkeypatch.setattr(views.time, "time", lambda: later)
    (job,) = (await browser.get("/demo/jobs")).json()["jobs"]
    assert job["state"] == "queued"
    assert told[-1][1:] == ("job.queued", job)


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
