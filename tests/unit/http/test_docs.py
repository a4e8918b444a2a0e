"""The page of the HTTP API's documents: nothing of it is the project's, or another host's."""

from __future__ import annotations

import re

import pytest

from sockets.types import Surface
from tests.support.asgi_client import GatewayClient

FILES = ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-init.js"]


async def test_the_page_names_its_own_files_alone() -> None:
    """Rule 13."""
    page = (await GatewayClient().get("/api/v1/docs")).content.decode()
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert links == [f"docs/{name}" for name in FILES]
    assert "://" not in page and '"url": "openapi.json"' in page


@pytest.mark.parametrize("name", FILES)
async def test_the_files_are_there_and_kept_by_browsers(name: str) -> None:
    client = GatewayClient()
    response = await client.get(f"/api/v1/docs/{name}")
    assert response.status_code == 200 and len(response.content) > 500
    kind = "text/css" if name.endswith("css") else "text/javascript"
    assert response["Content-Type"].startswith(kind)
    again = await client.get(f"/api/v1/docs/{name}", headers={"if-none-match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["redoc.standalone.js", "..%2F..%2Fninja.py", "nothing.css"])
async def test_other_files_are_not(name: str) -> None:
    assert (await GatewayClient().get(f"/api/v1/docs/{name}")).status_code == 404


async def test_strangers_see_none_of_it() -> None:
    for path in ("/api/v1/docs", f"/api/v1/docs/{FILES[0]}"):
        assert (await GatewayClient(Surface.PUBLIC).get(path)).status_code == 404
