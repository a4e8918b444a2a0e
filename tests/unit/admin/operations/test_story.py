"""The gateway's explanation in words."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from sockets.admin.operations import story
from sockets.deliveries import Fate, Standing, Step, StepCode
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import page, words
from tests.unit.admin.operations.values import FixedSource

WHY = "gatewayuser/why/?user=user-1&what=offset&message=41"


def test_every_code_has_its_words() -> None:
    assert set(story.STEPS) == set(StepCode)
    assert set(story.STANDINGS) == set(Standing)
    assert set(story.FATES) == set(Fate)


def test_the_story_has_its_times_in_order(reader: Client, fixed: FixedSource) -> None:
    text = page(reader, WHY)
    times = re.findall(r'class="gateway-when">([^<]*)<', text)
    assert times[0].endswith("11:50:41 UTC") and times[-1] == "–"
    assert times[:-1] == sorted(times[:-1])
    said = words(text)
    for word in (
        "put into the stream at offset 41: order.paid.",
        "The connection ended: connection lost (1006)",
        "with position 30, when the newest was 41: missed nothing.",
        "sent up to 42, acknowledged up to 40",
        "The user is connected now. Sessions: 1.",
        "recovered, not acknowledged",
    ):
        assert word in said, word


@pytest.mark.parametrize("code", StepCode)
def test_a_step_that_says_less_is_told_all_the_same(
    reader: Client, fixed: FixedSource, code: StepCode
) -> None:
    """A node of another version may not say all of it."""
    fixed.answers["explain_delivery"] = values.explanation(steps=[Step(code)])
    assert "%(" not in page(reader, WHY).partition("gateway-texts")[0]


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("silent", "its node does not answer"),
        ("not_there", "Nobody knows: no such message is kept."),
        ("new<b>", "Nobody knows: new<b>."),
    ],
)
def test_what_nobody_knows(reader: Client, fixed: FixedSource, why: str, said: str) -> None:
    step = Step(StepCode.UNKNOWN, values={"why": why})
    fixed.answers["explain_delivery"] = values.explanation(steps=[step])
    assert said in words(page(reader, WHY))
