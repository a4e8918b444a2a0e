"""The gateway's explanation in words."""

from __future__ import annotations

import re
from dataclasses import replace

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


def test_of_a_message_that_was_trimmed_no_client_is_said_to_have_been_sent_it(
    reader: Client, fixed: FixedSource
) -> None:
    told = values.explanation()
    client = replace(told.clients[0], standing=Standing.SENT)
    step = Step(StepCode.SENT, values={"sent": 42})
    for fate, word, line in (
        (Fate.KEPT, "sent, not acknowledged", "Messages up to 42 were sent to the client."),
        (Fate.TRIMMED, "passed, not acknowledged", "The client's position went past the message"),
    ):
        facts = replace(told.message, fate=fate)
        fixed.answers["explain_delivery"] = values.explanation(
            message=facts, clients=[client], steps=[step]
        )
        said = words(page(reader, WHY))
        assert f" {word} " in said and line in said


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
