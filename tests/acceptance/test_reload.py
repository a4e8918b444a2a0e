"""`serve --reload`: one child after the other, on the same ports, and none that is left."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import wait_for
from tests.support.peers import client
from tests.support.scale import SOAK
from tests.support.site import Site

SERVE = ("manage.py", "serve", "--client-port=0", "--worker-port=0", "--reload")
LOST = "memory mode: streams and presence are lost"
WAITS = "it starts again when a file changes"
PATIENCE = 20
"""Seconds for what ends at once: its Python may not get a core at once."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return made(tmp_path_factory.mktemp("shop"), "daphne")


@pytest.fixture
def site(shop: Site) -> Iterator[Site]:
    """A shop with "daphne" in INSTALLED_APPS, served with --reload."""
    yield from served(shop)


@pytest.fixture
def plain_site(tmp_path: Path) -> Iterator[Site]:
    """The same without."""
    yield from served(made(tmp_path))


def made(folder: Path, *first: str) -> Site:
    site = Site(folder, *first)
    site.append("urls.py", "\nNUMBER = 1\n")
    site.migrate()
    return site


def served(site: Site) -> Iterator[Site]:
    site.log_path.unlink(missing_ok=True)
    site.spawn(*SERVE)
    try:
        site.wait_until_ready()
        yield site
    finally:
        children = running(site)
        if not site.ended():
            site.signal(signal.SIGTERM)
            assert site.wait(PATIENCE) == 0
        try:
            wait_for(lambda: not any(map(lives, children)), "all children to be gone", PATIENCE)
        finally:
            for child in filter(lives, children):
                os.kill(child, signal.SIGKILL)


def running(site: Site) -> list[int]:
    """The processes of all children that were ready."""
    return [int(number) for number in re.findall(r"is ready .*process (\d+)", site.log())]


def ports(site: Site) -> list[tuple[str, ...]]:
    """The public and the private port of each child."""
    return re.findall(
        r"clients  ws://localhost:(\d+)\n  workers  ws://localhost:(\d+)/", site.log()
    )


def waits(site: Site) -> int:
    """How many faults it has waited for."""
    return site.log().count(WAITS)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def edit(site: Site, name: str, old: str, new: str) -> None:
    """Save a module of the shop, as an editor does."""
    file = site.folder / "shop" / name
    draft = file.with_suffix(".draft")
    draft.write_text(file.read_text().replace(old, new))
    draft.replace(file)


@pytest.mark.parametrize("which", ["plain_site", pytest.param("site", marks=pytest.mark.soak)])
async def test_a_change_starts_a_child_on_the_same_ports(
    which: str, request: pytest.FixtureRequest
) -> None:
    """Rule 14: with "daphne" in INSTALLED_APPS and without; and its clients come back to it."""
    site: Site = request.getfixturevalue(which)
    site.client_port = int(ports(site)[0][0])
    peer = await client(site, "u")
    (site.folder / "templates" / "page.html").write_text("a template needs no other process")
    edit(site, "urls.py", "NUMBER = 1", "NUMBER = 2")
    assert (await peer.closed())[0] == 1012
    await asyncio.to_thread(site.wait_until_ready, 2)
    assert LOST in site.log() and site.log().count(LOST) == 1
    first, second = ports(site)
    assert first == second and len(set(first)) == 2
    assert (await client(site, "u")).welcome["user"] == "u"
    children = running(site)
    assert len(set(children)) == 2 and site.pid not in children and not lives(children[0])
    assert all(facts["in_main_thread"] for facts in site.facts())
    assert {facts["reactor"] for facts in site.facts()} == {"ResetSafeReactor"}
    if SOAK:
        edit(site, "urls.py", "NUMBER = 2", "NUMBER = 3")
        await asyncio.to_thread(site.wait_until_ready, 3)
        assert set(ports(site)) == {first}


def test_faults_of_the_shop_are_shown_and_waited_over(site: Site) -> None:
    """Rule 14: of its settings, of what the checks import, of what serves; each is met when the
    one before is mended. The child that starts then has the ports and the reactor of the first; one
    that waits ends as well."""
    names = ("settings.py", "urls.py", "asgi.py")
    for name in names:
        edit(site, name, "import", "import import")
    try:
        for number, name in enumerate(names, 1):
            wait_for(lambda: waits(site) == number, f"the fault of {name}", PATIENCE)  # noqa: B023
            shown = site.log().split(WAITS)[number - 1]
            assert name.removesuffix(".py") in shown and "SyntaxError" in shown
            assert not site.ended()
            edit(site, name, "import import", "import")
        site.wait_until_ready(2)
        assert len(set(ports(site))) == 1
        assert {facts["reactor"] for facts in site.facts()} == {"ResetSafeReactor"}
        edit(site, "urls.py", "import", "import import")
        wait_for(lambda: waits(site) == len(names) + 1, "the last fault", PATIENCE)
        site.signal(signal.SIGINT)
        assert site.wait(PATIENCE) == 0
    finally:
        for name in names:
            edit(site, name, "import import", "import")


def test_ctrl_c_ends_both_at_once(site: Site) -> None:
    """Rule 14: a terminal sends it to both."""
    [child] = running(site)
    os.kill(child, signal.SIGINT)
    site.signal(signal.SIGINT)
    assert site.wait(PATIENCE) == 0
    assert not lives(child)
    assert "Traceback" not in site.log() and "hurrying" not in site.log(), site.log()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.soak),
        pytest.param(signal.SIGHUP, marks=pytest.mark.soak),
    ],
)
def test_a_signal_to_the_supervisor_ends_both_at_once(site: Site, number: int) -> None:
    """Rule 14."""
    [child] = running(site)
    site.signal(number)
    assert site.wait(PATIENCE) == 0
    assert not lives(child)
    assert "Traceback" not in site.log(), site.log()


def test_no_child_is_left_by_a_supervisor_that_is_killed(site: Site) -> None:
    """Rule 14."""
    [child] = running(site)
    site.kill()
    wait_for(lambda: not lives(child), "the child to notice", PATIENCE)


def test_a_child_that_is_stopped_ends_the_supervisor(site: Site) -> None:
    [child] = running(site)
    os.kill(child, signal.SIGTERM)
    assert site.wait(PATIENCE) == 0
