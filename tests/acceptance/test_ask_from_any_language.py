"""The commands of docs/ask-from-any-language.md, said to a real Redis with a real gateway on it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import redis as redis_module
from redis import Redis

from tests.support.gateway import ROOT, running
from tests.support.peers import client
from tests.support.valkey import Server

PAGE = (ROOT / "docs" / "ask-from-any-language.md").read_text()


def commands() -> list[list[str]]:
    """As redis-cli would send them; what a shell fills in is left as it stands."""
    lines = re.findall(r"^\$ redis-cli (.+)$", PAGE, re.MULTILINE)
    return [shlex.split(line.replace('"($(redis-cli TIME | head -1)"', "NOW")) for line in lines]


def snippet(section: str) -> str:
    """The Python of a section."""
    text = PAGE.split(f"## {section}")[1].split("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_commands_answer(tmp_path: Path, redis: Server) -> None:
    with running(tmp_path / "node", NODE_NAME="a", REDIS_URL=redis.url) as gateway:
        tab = await client(gateway, "42")
        session = tab.welcome["session"]
        asked = Redis.from_url(redis.url, decode_responses=True)
        now = f"({asked.time()[0]}"  # type: ignore[index]
        said = commands()
        answers: list[Any] = [
            asked.execute_command(
                *[{"NOW": now, "01JZ3N5Y3C8M4Q0T7V9X2B6D1F": session}.get(w, w) for w in words]
            )
            for words in said
        ]
        online, live, info, state, nodes, known = answers
        assert online == 1 and live == [session]
        assert json.loads(info[0])["client_id"] == tab.welcome["client"]
        assert state[0] == "online" and len(nodes) == 1 and nodes[0].startswith("a:")
        assert json.loads(known[nodes[0]])["clients"] >= 0
        asked.close()


async def test_the_python_answers(tmp_path: Path, redis: Server, monkeypatch: Any) -> None:
    with running(tmp_path / "node", NODE_NAME="a", REDIS_URL=redis.url) as gateway:
        tab = await client(gateway, "42")
        made: list[Redis] = []

        def connect(**options: Any) -> Redis:
            made.append(Redis.from_url(redis.url, **options))
            return made[-1]

        names: dict[str, Any] = {"redis": redis_module, "json": json}
        monkeypatch.setattr(redis_module, "Redis", connect)
        assert eval(snippet("Is the user online?"), names) is True
        exec(snippet("Which sessions, and where?"), names)
        assert names["found"][tab.welcome["session"]]["node"] == "a"
        for one in made:
            one.close()
