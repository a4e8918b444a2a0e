"""A page and its JSON: what changed, and what went wrong; whatever users chose is text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sockets.deliveries import StepCode
from sockets.exceptions import GatewayUnreachable, InvalidMessage
from sockets.models import Session
from sockets.reports import LiveSessions, TurnedAwayList
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, page, words
from tests.unit.admin.operations.values import NASTY, NOW, FixedSource, session_id

ONE = f"livesession/{session_id(1)}"
PAGES = (
    *("overview/", "livesession/", f"{ONE}/change/", "gatewayuser/?user=user-1", "worker/"),
    *("refusal/", "gatewayuser/trace/?user=user-1"),
    "gatewayuser/why/?user=user-1&what=offset&message=41",
)
DATA = (
    *("overview/data/", "livesession/data/", f"{ONE}/data/", "gatewayuser/data/?user=user-1"),
    *("worker/data/", "refusal/data/", "gatewayuser/trace/data/?user=user-1"),
)


def told(client: Client, path: str, status: int = 200, **headers: str) -> Any:
    answer = client.get(ROOT + path, headers=headers)
    assert answer.status_code == status
    return json.loads(answer.content)


@pytest.mark.parametrize("path", DATA)
def test_what_has_not_changed_is_not_sent_again(
    operator: Client, fixed: FixedSource, path: str
) -> None:
    first = operator.get(ROOT + path)
    assert first["Content-Type"] == "application/json" and "no-store" in first["Cache-Control"]
    for etag in (first["ETag"], f"W/{first['ETag']}"):  # as proxies hand it on
        again = operator.get(ROOT + path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
    assert operator.get(ROOT + path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_what_has_changed_is(operator: Client, fixed: FixedSource) -> None:
    etag = operator.get(f"{ROOT}overview/data/")["ETag"]
    fixed.answers["overview"] = values.overview(sessions=1)
    answer = operator.get(f"{ROOT}overview/data/", headers={"If-None-Match": etag})
    assert answer.status_code == 200 and answer["ETag"] != etag


@pytest.mark.parametrize(("shown", "data"), [*zip(PAGES[:7], DATA, strict=True)])
def test_page_and_json_have_the_same_parts(
    operator: Client, fixed: FixedSource, shown: str, data: str
) -> None:
    parts = re.findall(r'data-part="(\w+)"', page(operator, shown))
    assert set(told(operator, data)["parts"]) == set(parts)


@pytest.mark.parametrize("path", PAGES)
def test_where_the_gateway_cannot_be_asked_the_page_says_why(
    operator: Client, fixed: FixedSource, path: str
) -> None:
    fixed.error = GatewayUnreachable()
    text = words(page(operator, path))
    assert "The gateway was not asked" in text and "set REDIS_URL" in text


@pytest.mark.parametrize("path", DATA)
def test_so_does_the_json(operator: Client, fixed: FixedSource, path: str) -> None:
    fixed.error = GatewayUnreachable("it is away")
    assert told(operator, path, 503) == {"problem": "it is away"}
    fixed.error = InvalidMessage("limit is a number")
    assert told(operator, path, 400) == {"problem": "limit is a number"}


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_script_or_style_of_its_own(
    operator: Client, fixed: FixedSource, path: str
) -> None:
    """Django's policy forbids them; data in script elements is none."""
    text = page(operator, path)
    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text)
    for attributes, content in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL):
        assert 'type="application/json"' in attributes or not content.strip()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text), "nothing of another host"


def nasty(fixed: FixedSource) -> None:
    """Have everything that somebody else chooses be of the worst kind."""
    one = values.live(1, user=NASTY, agent=NASTY, address=NASTY, node=NASTY)
    message = values.message(1, event=NASTY, idempotency_key=NASTY)
    task = values.task(1, user=NASTY, event=NASTY, pool=NASTY, worker=NASTY, error=NASTY)
    frame = replace(values.frame(1), event=NASTY, type=NASTY)
    visit = values.visit(1, agent=NASTY, address=NASTY, close_reason=NASTY, node=NASTY)
    node = values.node(NASTY, version=NASTY, host=NASTY, state=NASTY)
    found = values.overview(silent=[NASTY])
    away = values.turned_away(user=NASTY, reason=NASTY, agent=NASTY, origin=NASTY, address=NASTY)
    story = values.explanation()
    step = replace(story.steps[0], node=NASTY, values={"event": NASTY, "offset": NASTY})
    ended = replace(step, code=StepCode.ENDED, values={"code": 1006, "reason": NASTY})
    fixed.answers |= {
        "overview": replace(
            found, nodes=[replace(found.nodes[0], info=node, redis=NASTY, database=NASTY)]
        ),
        "find_live_sessions": LiveSessions([one], 1, 1, [NASTY], NOW),
        "session_report": values.report(session=one, frames=[frame], method=NASTY),
        "user_report": values.user_report(
            NASTY, live=[one], tasks=[task], stream=[message], visits=[visit], silent=[NASTY]
        ),
        "workers": values.workers(ended=[task]),
        "refusals": TurnedAwayList([away], 0, 0, [NASTY]),
        "ledger_of": [values.entry(1, node=NASTY)],
        "nodes": [node],
        "explain_delivery": replace(
            story,
            message=replace(story.message, event=NASTY, idempotency_key=NASTY, epoch=NASTY),
            steps=[step, ended],
            silent=[NASTY],
        ),
    }


@pytest.mark.parametrize("path", PAGES)
def test_whatever_somebody_chose_is_text(operator: Client, fixed: FixedSource, path: str) -> None:
    nasty(fixed)
    text = page(operator, path.replace("user-1", "%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE"))
    assert "<script>alert" not in text
    # What is for programs alone is as it is: an id must find its user.
    text = re.sub(r'(?:data-key|value|href)="[^"]*"', "", text)
    assert "\u202e" not in text and "\x1b" not in text
    if "trace" not in path:
        assert "&lt;script&gt;alert(1)" in text and "\\u202egnp" in text


@pytest.mark.parametrize("path", DATA)
def test_so_it_is_in_the_json(operator: Client, fixed: FixedSource, path: str) -> None:
    """The script writes it as text, and what turns the line round is spelt out."""
    nasty(fixed)
    body = json.dumps(told(operator, path), ensure_ascii=False)
    shown = re.sub(r'"(?:href|key)": "(?:[^"\\]|\\.)*"', "", body)
    assert "\u202e" not in shown and "\\u001b[" not in shown.replace("\\\\u001b", "")
    if "trace" not in path:
        assert "\\\\u202egnp" in shown


def many(fixed: FixedSource, count: int) -> None:
    sessions = [values.live(number, user=str(number)) for number in range(1, count + 1)]
    tasks = [values.task(number, user=str(number)) for number in range(1, count + 1)]
    away = [values.turned_away(user=str(number)) for number in range(1, count + 1)]
    visits = [values.visit(number) for number in range(1, count + 1)]
    workers = values.workers(ended=tasks)
    held = [replace(workers.workers[0], worker=f"c/{one.id}", tasks=[one]) for one in tasks]
    found, told = values.overview(), values.explanation()
    standing = told.clients[0]
    fixed.answers |= {
        "overview": replace(
            found,
            nodes=[replace(found.nodes[0], info=values.node(f"n-{n}")) for n in range(count)],
        ),
        "nodes": [values.node(f"n-{number}") for number in range(count)],
        "find_live_sessions": LiveSessions(sessions, count, count, [], NOW),
        "session_report": values.report(
            frames=[values.frame(number) for number in range(count)],
            attached=[str(number) for number in range(count)],
        ),
        "user_report": values.user_report(
            live=sessions,
            tasks=tasks,
            visits=visits,
            stream=[values.message(number) for number in range(1, count + 1)],
        ),
        "ledger_of": [values.entry(number) for number in range(1, count + 1)],
        "explain_delivery": replace(
            told,
            clients=[
                replace(standing, client_id=values.client_id(number)) for number in range(count)
            ],
            steps=told.steps * count,
        ),
        "workers": replace(workers, workers=held),
        "refusals": TurnedAwayList(away, 0, 0, []),
    }


@pytest.mark.parametrize("path", [*PAGES, *DATA])
def test_no_page_asks_the_database_once_a_row(
    operator: Client, fixed: FixedSource, settings: LazySettings, path: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"sessions": "project"}
    counts = []
    for rows in (1, 50):
        many(fixed, rows)
        with CaptureQueriesContext(connection) as asked:
            assert operator.get(ROOT + path).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 8


@pytest.mark.parametrize("path", PAGES)
def test_without_history_no_row_is_asked_for(
    operator: Client, fixed: FixedSource, settings: LazySettings, path: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"history": False}
    with CaptureQueriesContext(connection) as asked:
        text = page(operator, path)
    assert not [one["sql"] for one in asked if "sockets_" in one["sql"]]
    assert 'href="/admin/sockets/session/' not in text
    assert not Session.objects.exists()


def test_the_admins_own_history_leads_to_the_page(operator: Client, fixed: FixedSource) -> None:
    answer = operator.get(f"{ROOT}gatewayuser/a_2Fb%26/change/")
    assert answer["Location"] == f"{ROOT}gatewayuser/?user=a%2Fb%26"
    assert operator.get(f"{ROOT}worker/01AB/change/")["Location"] == f"{ROOT}worker/"
