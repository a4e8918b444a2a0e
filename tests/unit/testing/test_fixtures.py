"""The fixtures that a project takes as a plugin."""

from __future__ import annotations

from sockets import api
from sockets.testing.fixtures import gateway as gateway
from sockets.testing.gateway import RunningGateway


async def test_the_gateway_runs_and_the_python_api_goes_to_it(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    await api.anotify_user("42", "e", 1)
    assert (await page.message())["data"] == 1
