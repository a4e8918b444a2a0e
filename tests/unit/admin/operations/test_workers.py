"""Workers, pools and tasks; tasks are cancelled and handed back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from sockets.types import TaskState
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, do, page, words
from tests.unit.admin.operations.values import FixedSource

TASK = values.task().id


def rows(client: Client, part: str) -> list[list[dict[str, Any]]]:
    told = json.loads(client.get(f"{ROOT}worker/data/").content)["parts"]
    return [row["cells"] for row in told[part]["rows"]]


def test_all_of_them(reader: Client, fixed: FixedSource) -> None:
    pools = [[cell["text"] for cell in row] for row in rows(reader, "pools")]
    assert pools == [["image.convert", "1", "2", "4", "2"], ["pdf", "1", "4", "4", "0"]]
    ((worker, *_, held, since, node, _),) = [row[:6] for row in rows(reader, "workers")]
    assert worker["text"] == "converter" and held["text"] == "2 of 4"
    assert since["since"] < values.NOW and node["text"] == "node-1"
    assert [row[1]["text"] for row in rows(reader, "tasks")] == ["running", "offered"]
    assert [row[1]["text"] for row in rows(reader, "ended")] == ["done", "failed"]
    assert rows(reader, "ended")[1][1]["below"] == "no such file"


def test_a_worker_that_presence_does_not_know(reader: Client, fixed: FixedSource) -> None:
    from dataclasses import replace

    (worker,) = values.workers().workers
    fixed.answers["workers"] = values.workers(workers=[replace(worker, session=None)], total=9)
    assert "1 of 9." in words(page(reader, "worker/"))


def test_who_may_end_them_can(operator: Client, fixed: FixedSource) -> None:
    (cells, offered) = rows(operator, "tasks")
    assert "href" in offered[-2] and "href" not in offered[-1], "no worker has it to hand back"
    assert [cell["href"] for cell in cells[-2:]] == [
        f"{ROOT}worker/cancel/?task={TASK}",
        f"{ROOT}worker/release/?task={TASK}",
    ]
    assert all("href" not in cell for cells in rows(operator, "ended") for cell in cells[-2:])


@pytest.mark.parametrize("name", ["cancel", "release"])
def test_the_question_names_what_it_concerns(
    operator: Client, fixed: FixedSource, name: str
) -> None:
    said = words(page(operator, f"worker/{name}/", task=TASK))
    for word in ("This concerns 1 task.", "image.convert", "holds it", "user-1"):
        assert word in said, word
    fixed.answers["task"] = values.task(state=TaskState.DONE)
    assert "has ended already" in words(page(operator, f"worker/{name}/", task=TASK))
    fixed.answers["task"] = None
    page(operator, f"worker/{name}/", 404, task=TASK)
    page(operator, f"worker/{name}/", 404)


def test_they_are_ended(operator: Client, fixed: FixedSource) -> None:
    (told,) = do(operator, "worker/cancel/", task=TASK)
    assert told == "success: The task is cancelled; its worker is asked to stop."
    (told,) = do(operator, "worker/release/", task=TASK)
    assert told.startswith("success: The task is handed back")
    assert fixed.done() == ["cancel_task", "release_task"]
    fixed.answers |= {"cancel_task": False, "release_task": None}
    (told,) = do(operator, "worker/cancel/", task=TASK)
    assert told == "warning: The task had ended already, or never was."
    (told,) = do(operator, "worker/release/", task=TASK)
    assert told == "warning: No worker runs this task: nothing was handed back."
