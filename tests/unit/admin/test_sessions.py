"""The list of sessions: what it shows, finds and disconnects, and what it costs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.formats import reset_format_cache

from sockets.codes import CloseCode
from sockets.exceptions import GatewayUnreachable
from sockets.models import Node, Session
from tests.unit.admin.conftest import LIST, NOON, RecordingApi, confirm, disconnect, shown_ids


class TestList:
    def test_a_live_session(self, viewer: Client, add: Callable[..., Session]) -> None:
        add(7, kind="worker", connected_at=timezone.now() - timedelta(minutes=3, seconds=12.5))
        page = viewer.get(LIST).content.decode()
        assert ">live</span>" in page
        assert ">ended</span>" not in page
        for text in ("worker", "user-7", f"01CCCC{7:020d}", "node-1", "10.0.0.7:5000"):
            assert text in page
        assert "3 min 1" in page

    def test_an_ended_session(self, viewer: Client, add: Callable[..., Session]) -> None:
        end = NOON + timedelta(hours=2, minutes=5)
        add(1, disconnected_at=end, close_code=4503, close_reason="a newer connection")
        page = viewer.get(f"{LIST}?state=all").content.decode()
        assert ">ended</span>" in page
        for text in ("4503 replaced", "a newer connection", "2 h 5 min", "2026-03-04 12:00:00 UTC"):
            assert text in page

    def test_times_have_seconds_and_their_zone(
        self, viewer: Client, add: Callable[..., Session], settings: Any
    ) -> None:
        settings.TIME_ZONE = "Asia/Seoul"
        row = add(1, disconnected_at=NOON + timedelta(seconds=7))
        assert "2026-03-04 21:00:00 KST" in viewer.get(f"{LIST}?state=all").content.decode()
        detail = viewer.get(f"{LIST}{row.id}/change/").content.decode()
        assert "2026-03-04 21:00:00 KST" in detail
        assert "2026-03-04 21:00:07 KST" in detail

    def test_whatever_formats_a_project_has(
        self, viewer: Client, add: Callable[..., Session], settings: Any
    ) -> None:
        settings.FORMAT_MODULE_PATH, settings.TIME_ZONE = None, "Asia/Seoul"
        reset_format_cache()
        row = add(1, disconnected_at=NOON + timedelta(seconds=7))
        assert "2026-03-04 21:00:00 KST" in viewer.get(f"{LIST}?state=all").content.decode()
        assert "2026-03-04 21:00:07 KST" in viewer.get(f"{LIST}{row.id}/change/").content.decode()
        reset_format_cache()

    def test_there_is_no_site_to_be_viewed(self, viewer: Client) -> None:
        for path in (LIST, "/admin/"):
            assert "View site" not in viewer.get(path).content.decode()

    def test_one_address_has_one_form(self, viewer: Client, add: Callable[..., Session]) -> None:
        row = add(1, address="[::ffff:10.0.0.1]:5000")
        for path in (LIST, f"{LIST}{row.id}/change/"):
            page = viewer.get(path).content.decode()
            assert "10.0.0.1:5000" in page
            assert "ffff" not in page

    def test_newest_first(self, viewer: Client, add: Callable[..., Session]) -> None:
        for number, hours in ((1, 2), (2, 0), (3, 1)):
            add(number, connected_at=NOON + timedelta(hours=hours))
        assert shown_ids(viewer) == [1, 3, 2]

    def test_fifty_on_a_page(self, viewer: Client, add: Callable[..., Session]) -> None:
        for number in range(60):
            add(number)
        assert len(shown_ids(viewer)) == 50
        assert len(shown_ids(viewer, "?p=2")) == 10

    def test_what_users_chose_is_escaped(self, viewer: Client, add: Callable[..., Session]) -> None:
        add(1, user="<script>1</script>", close_reason="<i>" * 30, agent="<b>", address="<u>")
        for page in (LIST + "?state=all", f"{LIST}{1:026d}/change/".replace("/00", "/01", 1)):
            response = viewer.get(page)
            assert response.status_code == 200
            text = response.content.decode()
            assert "&lt;script&gt;1" in text
            for tag in ("<script>1", "<i>", "<b>", "<u>"):
                assert tag not in text

    def test_a_long_user_id_does_not_stretch_the_table(
        self, viewer: Client, add: Callable[..., Session]
    ) -> None:
        add(1, user="가" * 1024)
        page = viewer.get(LIST).content.decode()
        assert f'">{"가" * 47}…</span>' in page
        assert f'title="{"가" * 1024}"' in page

    def test_the_site_says_whose_it_is(self, viewer: Client) -> None:
        page = viewer.get(LIST).content.decode()
        assert "| Gateway</title>" in page
        assert "Django administration" not in page

    def test_detail(self, viewer: Client, add: Callable[..., Session]) -> None:
        row = add(1, agent="Firefox/140", disconnected_at=NOON, close_code=1000)
        page = viewer.get(f"{LIST}{row.id}/change/").content.decode()
        for text in ("Where", "When", "End", "Firefox/140", "1000 normal", row.id, "0 s"):
            assert text in page
        assert '<input type="text" name' not in page


class TestFilters:
    @pytest.fixture(autouse=True)
    def _rows(self, db: None, add: Callable[..., Session]) -> None:
        for name in ("node-1", "node-2"):
            Node.objects.create(name=name, started_at=NOON, seen_at=NOON, pid=1)
        add(1)
        add(2, node="node-2")
        add(3, kind="worker", disconnected_at=NOON, close_code=4503)
        add(4, node="gone", disconnected_at=NOON, close_code=1006)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", [4, 3, 2, 1]),
            ("?state=live", [2, 1]),
            ("?state=ended", [4, 3]),
            ("?kind__exact=worker", [3]),
            ("?node=node-2", [2]),
            ("?node=gone", [4]),
            ("?close_code=4503", [3]),
            ("?close_code=1006&state=ended", [4]),
            ("?close_code=x", []),
            ("?close_code=%C2%B2", []),
            ("?close_code=99999999999999999999999", []),
            ("?state=nonsense", [2, 1]),
            ("?state=all", [4, 3, 2, 1]),
        ],
    )
    def test_each(self, viewer: Client, query: str, found: list[int]) -> None:
        assert shown_ids(viewer, query) == found

    def test_they_are_offered_by_name(self, viewer: Client) -> None:
        page = viewer.get(LIST).content.decode()
        for link in ("?state=live", "?node=node-2", "?close_code=4503", "?kind__exact=client"):
            assert f'href="{link}"' in page
        assert "4503 replaced" in page and "1006 connection lost" in page
        assert "4099" not in page, "only those that occur"

    def test_live_ones_where_nothing_is_asked_for(self, viewer: Client) -> None:
        """Of a search all, for whoever is looked for may have gone."""
        found = {
            query: [row.id for row in viewer.get(LIST + query).context["cl"].result_list]
            for query in ("", "?q=user-4", "?q=user-4&state=live")
        }
        assert [len(rows) for rows in found.values()] == [2, 1, 0]


@pytest.mark.parametrize("query", ["", "?state=all", "?q=user-", "?q=10.0.0", f"?q=01CCCC{1:020d}"])
def test_the_number_of_queries_does_not_grow_with_rows(
    viewer: Client, add: Callable[..., Session], settings: LazySettings, query: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"sessions": "project"}
    counts = []
    for rows in (range(2, 4), range(4, 60)):
        for number in rows:
            add(number, user=f"user-{number}", client_id=f"01CCCC{1:020d}")
        with CaptureQueriesContext(connection) as captured:
            found = viewer.get(LIST + query).context["cl"].result_list
        counts.append(len(captured))
    assert len(found) == 50 and counts[0] == counts[1] < 20


class TestCodesOffered:
    def test_what_clients_choose_crowds_ours_out_of_no_filter(
        self, viewer: Client, add: Callable[..., Session]
    ) -> None:
        chosen = [*range(1_002, 1_016), *range(3_000, 3_050), *range(4_600, 4_650)]
        for number, code in enumerate([*chosen, 1_000, 1_006, 4_000, 4_099, 4_503, 4_508]):
            add(number, disconnected_at=NOON, close_code=code)
        with CaptureQueriesContext(connection) as captured:
            page = viewer.get(f"{LIST}?state=all").content.decode()
        offered = re.findall(r"close_code=(\d+)", page)
        assert {"1000", "1006", "4000", "4099", "4503", "4508"} <= set(offered)
        assert len(set(offered)) == len(offered) <= 60 and offered == sorted(offered)
        assert len(captured) < 80


class TestSearch:
    @pytest.fixture(autouse=True)
    def _rows(self, db: None, add: Callable[..., Session]) -> None:
        add(1, user="Kim@example.com")
        add(2, user="01ARZ3NDEKTSV4RRFFQ69G5FAV", address="192.168.7.7:99")
        add(3, client_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
        add(4, user="김 철수")
        add(5, address="[::ffff:172.16.5.5]:99")
        add(6, address="172.16.5.5:4444")
        add(7, address="[2001:db8::ffff:7]:99")
        add(8, user="8", address="10.0.0.8:88")

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            ("kim@", [1]),
            ("192.168.7", [2]),
            ("::ffff:192.168.7.7", [2]),
            ("::FFFF:192.168.7", [2]),
            ("[::ffff:192.168.7.7]:99", [2]),
            ("::ffff:c0a8:707", [2]),
            ("0:0:0:0:0:ffff:192.168.7.7", [2]),
            ("172.16.5.5", [6, 5]),
            ("172.16.5.5:99", [5]),
            ("172.16.5.5:4444", [6]),
            ("::ffff:172.16.5.5", [6, 5]),
            ("[::ffff:172.16.5.5]:99", [5]),
            ("client-6 ::ffff:172.16.5.5", []),
            ("user-6 ::ffff:172.16.5.5", [6]),
            ("2001:db8::ffff:7", [7]),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", [3, 2]),
            ("01arz3ndektsv4rrffq69g5fav", [3]),
            (" 01000000000000000000000004 ", [4]),
            ("01CCCC", [8, 7, 6, 5, 4, 2, 1]),
            ('"김 철수"', [4]),
            ("nobody", []),
            ("%", []),
            ("8", [8]),
            ("user-6", [6]),
        ],
    )
    def test_finds(self, viewer: Client, term: str, found: list[int]) -> None:
        response = viewer.get(LIST, {"q": term})
        assert [int(row.id[2:]) for row in response.context["cl"].result_list] == found


class TestDates:
    def test_hierarchy(self, viewer: Client, add: Callable[..., Session]) -> None:
        add(1, connected_at=NOON - timedelta(days=40))
        add(2)
        add(3, connected_at=NOON + timedelta(days=2))
        page = viewer.get(LIST).content.decode()
        assert "January 2026" in page
        assert "March 2026" in page
        page = viewer.get(f"{LIST}?connected_at__year=2026&connected_at__month=3").content.decode()
        assert "March 4" in page
        assert "March 6" in page
        query = "?connected_at__year=2026&connected_at__month=3&connected_at__day=4"
        assert shown_ids(viewer, query) == [2]


class TestReadOnly:
    def test_whatever_permissions_they_hold(
        self, staff: Callable[..., Client], add: Callable[..., Session]
    ) -> None:
        client = staff("view_session", "add_session", "change_session", "delete_session")
        row = add(1)
        detail = f"{LIST}{row.id}/"
        assert client.get(detail + "change/").status_code == 200
        assert client.get(LIST + "add/").status_code == 403
        assert client.post(LIST + "add/", {}).status_code == 403
        assert client.post(detail + "change/", {"user": "x"}).status_code == 403
        assert client.post(detail + "delete/", {"post": "yes"}).status_code == 403
        assert "delete_selected" not in client.get(LIST).content.decode()
        assert Session.objects.get().user == "user-1"

    def test_not_without_permission(
        self, staff: Callable[..., Client], add: Callable[..., Session]
    ) -> None:
        row = add(1)
        client = staff("view_node", "disconnect_session")
        assert client.get(LIST).status_code == 403
        assert client.get(f"{LIST}{row.id}/change/").status_code == 403


class TestDisconnect:
    def test_live_ones_are_closed(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        live, other, ended = add(1), add(2), add(3, disconnected_at=NOON)
        untouched = add(4)
        told = disconnect(operator, live, other, ended)
        assert told == ["success: 2 sessions were disconnected."]
        assert {call[0] for call in api.calls} == {live.id, other.id}
        assert {call[1:] for call in api.calls} == {
            (CloseCode.DISCONNECTED, "disconnected by an operator")
        }
        assert untouched.id not in {call[0] for call in api.calls}

    def test_who_did_it_is_in_the_history(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        closed, gone = add(1), add(2)
        api.gone = {gone.id}
        told = disconnect(operator, closed, gone)
        assert told == [
            "success: 1 session was disconnected.",
            "warning: 1 session was already gone.",
        ]
        entry = LogEntry.objects.get()
        assert (entry.user, entry.object_id) == (User.objects.get(), closed.id)
        history = operator.get(f"{LIST}{closed.id}/history/").content.decode()
        assert "Disconnected by an operator" in history

    def test_only_ended_ones(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        assert disconnect(operator, add(1, disconnected_at=NOON)) == [
            "warning: None of these sessions is live."
        ]
        assert not api.calls

    def test_another_process_is_an_error_with_the_remedy(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        api.error = GatewayUnreachable()
        [told] = disconnect(operator, add(1), add(2))
        assert told.startswith("error: Not done: ")
        assert "set REDIS_URL" in told
        assert not LogEntry.objects.exists()

    def test_one_that_does_not_answer(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        closed, slow = add(1), add(2)
        api.slow = {slow.id}
        assert disconnect(operator, closed, slow) == [
            "success: 1 session was disconnected.",
            "warning: 1 session does not answer; the socket is cut soon.",
        ]
        assert LogEntry.objects.count() == 1

    def test_all_that_a_filter_found(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        rows = [add(number, node="a" if number % 2 else "b") for number in range(130)]
        told = disconnect(operator, rows[1], select_across="1")
        assert told == ["success: 130 sessions were disconnected."]

    def test_only_those_who_may(
        self, viewer: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        row = add(1)
        assert "Disconnect the selected" not in viewer.get(LIST).content.decode()
        disconnect(viewer, row)
        assert not api.calls

    def test_it_is_offered(self, operator: Client, add: Callable[..., Session]) -> None:
        add(1)
        assert "Disconnect the selected live sessions" in operator.get(LIST).content.decode()


class TestButton:
    """A session's own page leads to its end, as the list's action does."""

    def page(self, row: Session) -> str:
        return f"{LIST}{row.id}/change/"

    def test_it_ends_the_session(
        self, operator: Client, api: RecordingApi, add: Callable[..., Session]
    ) -> None:
        row, other = add(1), add(2)
        page = operator.get(self.page(row)).content.decode()
        (ask,) = re.findall(r'href="([^"]*)" class="gateway-tool"', page)
        assert "This concerns 1 session." in operator.get(html.unescape(ask)).content.decode()
        assert not api.calls, "a look ends nothing"
        assert confirm(operator, [row.id]) == ["success: 1 session was disconnected."]
        text = operator.get(self.page(row)).content.decode()
        assert ">ended</span>" in text and "gateway-tool" not in text
        assert api.calls == [(row.id, CloseCode.DISCONNECTED, "disconnected by an operator")]
        entry = LogEntry.objects.get()
        assert (entry.user, entry.object_id) == (User.objects.get(), row.id)
        assert Session.objects.get(pk=other.pk).live

    def test_only_where_there_is_something_to_end(
        self, operator: Client, add: Callable[..., Session]
    ) -> None:
        row = add(1, disconnected_at=NOON)
        assert "gateway-tool" not in operator.get(self.page(row)).content.decode()

    def test_only_those_who_may(
        self, staff: Callable[..., Client], add: Callable[..., Session]
    ) -> None:
        row, viewer = add(1), staff("view_session")
        assert "gateway-tool" not in viewer.get(self.page(row)).content.decode()


class TestCost:
    """With SQLite's plans: no page of the list sorts or reads the whole table."""

    @pytest.mark.parametrize(
        ("query", "index"),
        [
            ("", "session_live"),
            ("?state=all", "session_newest"),
            ("?state=all&p=2", "session_newest"),
            ("?state=live", "session_live"),
            ("?state=live&node=node-1", "session_live_of_node"),
            ("?node=node-1&state=all", "session_of_node"),
            ("?kind__exact=worker&state=all", "session_by_kind"),
            ("?close_code=4503&state=all", "session_by_code"),
            ("?q=01ARZ3NDEKTSV4RRFFQ69G5FAV", "session_of_client"),
            ("?q=user-7", "session_of_user"),
            ("?connected_at__year=2026&connected_at__month=3&state=all", "session_newest"),
        ],
    )
    @pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's plans")
    def test_plan(
        self, viewer: Client, add: Callable[..., Session], query: str, index: str
    ) -> None:
        for number in range(60):
            add(number)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert viewer.get(LIST + query).status_code == 200
        rows = [
            entry["sql"]
            for entry in captured.captured_queries
            if '"sockets_session"."agent"' in entry["sql"]
        ]
        assert rows
        with connection.cursor() as cursor:
            for sql in rows:
                cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%", "%%"))
                plan = " / ".join(line[3] for line in cursor.fetchall())
                assert re.search(rf"INDEX {index}\b", plan), plan
                assert "q=" in query or "TEMP B-TREE" not in plan, plan
        assert len(captured.captured_queries) <= 15, "a query for each row?"
