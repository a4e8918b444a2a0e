"""A node is drained."""

from __future__ import annotations

from django.contrib.admin.models import LogEntry
from django.test import Client

from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import do, page, words
from tests.unit.admin.operations.values import FixedSource

DRAIN = "overview/drain/"


def test_the_question_names_who_moves(operator: Client, fixed: FixedSource) -> None:
    said = words(page(operator, DRAIN, node="node-1"))
    assert "12006 sessions move to the other nodes" in said and "only node" not in said
    fixed.answers["nodes"] = [values.node("node-1", clients=1, workers=0)]
    said = words(page(operator, DRAIN, node="node-1"))
    assert "1 session moves" in said and "It is the only node: nobody can connect then." in said


def test_it_drains_or_does_not_answer(operator: Client, fixed: FixedSource) -> None:
    told = do(operator, DRAIN, node="node-1")
    assert told == ["success: The node has heard it, and drains."]
    assert LogEntry.objects.get().object_id == "node-1"
    fixed.answers["drain_node"] = False
    told = do(operator, DRAIN, node="node-1")
    assert told == ["warning: The node did not answer, or is gone."]
    assert LogEntry.objects.count() == 1
