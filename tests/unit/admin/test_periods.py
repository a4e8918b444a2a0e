"""The date hierarchy's periods: the same as Django's own, without reading every row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from django.conf import LazySettings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockets.admin.periods import PeriodQuerySet
from sockets.models import Session

PERIODS: tuple[Literal["year", "month", "day"], ...] = ("year", "month", "day")


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul", "America/Sao_Paulo"])
def test_the_same_as_djangos(add: Callable[..., Session], zone: str) -> None:
    edges = [
        datetime(2024, 12, 31, 14, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 12, 31, 15, tzinfo=UTC),  # midnight in Seoul
        datetime(2024, 12, 31, 23, 59, tzinfo=UTC),
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2025, 1, 31, 23, tzinfo=UTC),
        datetime(2025, 2, 28, 23, tzinfo=UTC),
        datetime(2025, 3, 1, tzinfo=UTC),
        datetime(2025, 3, 1, 5, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
    ]
    for number, moment in enumerate(edges):
        add(number, connected_at=moment)
    with timezone.override(zone):
        for period in PERIODS:
            stock = list(Session.objects.datetimes("connected_at", period))
            assert PeriodQuerySet(Session).datetimes("connected_at", period) == stock


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.datetimes(datetime(2018, 9, 1), datetime(2018, 12, 1)), max_size=5))
def test_the_same_as_djangos_where_clocks_change(
    add: Callable[..., Session], moments: list[datetime]
) -> None:
    """São Paulo skipped midnight on 2018-11-04: that day began at one o'clock."""
    Session.objects.all().delete()
    for number, moment in enumerate(moments):
        add(number, connected_at=moment.replace(tzinfo=UTC))
    with timezone.override("America/Sao_Paulo"):
        for period in PERIODS:
            stock = [
                (day.year, day.month, day.day)
                for day in Session.objects.datetimes("connected_at", period)
            ]
            ours = PeriodQuerySet(Session).datetimes("connected_at", period)
            assert [(day.year, day.month, day.day) for day in ours] == stock


@pytest.mark.django_db
def test_filters_apply(add: Callable[..., Session]) -> None:
    day = datetime(2025, 5, 1, tzinfo=UTC)
    for number in range(4):
        add(number, connected_at=day + timedelta(days=number), user=f"{number % 2}")
    found = PeriodQuerySet(Session).filter(user="1").datetimes("connected_at", "day")
    assert [moment.day for moment in found] == [2, 4]


@pytest.mark.django_db
def test_one_look_into_the_index_for_each(
    add: Callable[..., Session], django_assert_num_queries: Callable[..., Any]
) -> None:
    for number in range(30):
        add(number, connected_at=datetime(2025, 5, 1 + number % 3, number % 24, tzinfo=UTC))
    with django_assert_num_queries(4):
        assert len(PeriodQuerySet(Session).datetimes("connected_at", "day")) == 3


def test_what_it_does_not_do_it_refuses(settings: LazySettings) -> None:
    with pytest.raises(NotImplementedError):
        PeriodQuerySet(Session).datetimes("connected_at", "hour")
    with pytest.raises(NotImplementedError):
        PeriodQuerySet(Session).datetimes("connected_at", "day", order="DESC")
