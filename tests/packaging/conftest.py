"""What the tests of the package share: it is built once, and installed once in each form."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.environments import NEWEST, Environment, above, build, make, start_project
from tests.packaging.open_shop import INSTALL, OpenShop
from tests.support.peers import Peer
from tests.support.scale import SOAK
from tests.support.valkey import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "packaging" in item.path.parts:
            item.add_marker(pytest.mark.packaging)
            item.add_marker(pytest.mark.timeout(300))  # the first one waits for the installation


@dataclass(frozen=True)
class Built:
    """`wheel` is made of `sdist`."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Shop:
    """A project in an environment of its own; `variables` are its processes'."""

    environment: Environment
    folder: Path
    variables: dict[str, str]

    def run(self, *arguments: str | Path, check: bool = True) -> str:
        """Run Python in the project; return what it wrote, errors too."""
        done = self.environment.run(*arguments, cwd=self.folder, check=check, **self.variables)
        return done.stdout + done.stderr

    def manage(self, *arguments: str, check: bool = True) -> str:
        return self.run("manage.py", *arguments, check=check)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    sdist, wheel = sorted(build(tmp_path_factory.mktemp("dist")), key=lambda file: file.suffix)
    return Built(wheel, sdist)


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def _shop(environment: Environment, folder: Path, redis: Server) -> Shop:
    start_project(environment, folder)
    variables = {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "REDIS_URL": redis.url,
        "JWT_SECRET": "of-the-packaging-tests-0123456789abcdef",
        "PYTHONPATH": str(folder),
    }
    made = Shop(environment, folder, variables)
    made.manage("migrate", "--verbosity", "0")
    return made


@pytest.fixture(scope="session")
def plain(built: Built, redis: Server, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A site that has `pip install django-gateway`, and greenlets."""
    folder = tmp_path_factory.mktemp("plain")
    return _shop(make(folder / "env", str(built.wheel), "gevent"), folder / "site", redis)


@pytest.fixture(scope="session")
def server(built: Built, redis: Server, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The same with `[server]`."""
    folder = tmp_path_factory.mktemp("server")
    wanted = f"{built.wheel}[server]"
    environment = make(folder / "env", wanted, by_pip=SOAK)
    environment.install(wanted, by_pip=True)  # as the page says; it need not fetch what is there
    return _shop(environment, folder / "site", redis)


@pytest.fixture(scope="session", params=["development", "production"])
def shop(
    request: pytest.FixtureRequest,
    built: Built,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OpenShop]:
    """The shop of the page, open: once on these Python and Django, once on the newest."""
    assert shlex.split(INSTALL) == ["pip", "install", "django-gateway[server]"]
    folder = tmp_path_factory.mktemp(f"shop-{request.param}")
    production = request.param == "production"
    if production and not NEWEST.python.exists():
        pytest.skip("no Python 3.13: scripts/test makes .venv-newest of it")
    if production:
        both = above(NEWEST, folder / "both", f"{built.wheel}[server]", "gunicorn")
        environments = both, both
    else:
        plain, server = (request.getfixturevalue(name).environment for name in ("plain", "server"))
        own = "daphne", "django-ninja", "psycopg[binary]"  # what the shop brings itself
        environments = (
            above(plain, folder / "plain", "gunicorn", *own),
            above(server, folder / "server", *own),
        )
    redis = Server()
    try:
        made = OpenShop(folder / "site", *environments, redis, production=production)
        made.set_up()
        with made.opened():
            yield made
    finally:
        redis.stop()


@pytest.fixture(autouse=True)
async def close_peers() -> AsyncIterator[None]:
    """No test leaves a socket to the next one, whatever became of it."""
    yield
    while Peer.opened:
        await Peer.opened.pop().connection.close()
