"""Who comes back, in days that have 23, 24 or 25 hours."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.behavior.period import Period
from analytics_svc.behavior.retention import (
    Cohort,
    RetentionKind,
    RetentionMetric,
    RetentionSpec,
    cell_count,
    cohorts_of,
    compile_retention,
)
from analytics_svc.slice import Slice
from rule_language.predicate import Condition, Operator
from tests.integration.analytics.behavior.retention_reference import Act, matrix
from tests.integration.analytics.behavior.test_funnel_random import asked
from tests.reading import ACME, OTHER, insert_events

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 25, tzinfo=UTC)
"""Clocks go forward on Sunday the 29th."""
KINDS = "ab"


def kind(name: str) -> Condition:
    """Return the predicate of a kind of event."""
    return Condition("event_type", Operator.EQUALS, (name,))


def utc(text: str) -> datetime:
    """Read an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def insert(client: "Client", acts: list[Act]) -> None:
    """Insert events; those with a value are conversions."""
    rows = [
        {"user_id": act.user, "event_time": act.time, "event_type": act.kind}
        | ({"is_conversion": 1, "value": act.value, "currency": "EUR"} if act.value is not None else {})
        for act in acts
    ]
    insert_events(client, rows, counts=False)


def found(client: "Client", spec: RetentionSpec, *, now: datetime, known: datetime | None = None) -> list[Cohort]:
    """Return the cohorts and, last, all together."""
    cohorts, overall = cohorts_of(spec, asked(client, compile_retention(spec)), now=now, known_until=known or now)
    return [*cohorts, overall]


def counts(cohort: Cohort) -> list[int]:
    """Return the numbers of a cohort's cells."""
    return [int(cell.value) for cell in cohort.cells]


def test_days_are_those_of_the_time_zone_when_clocks_change(client: "Client") -> None:
    """By hand: Berlin's 29 March has 23 hours, from 28 March 23:00 to 29 March 22:00 UTC.

    u begins on the 28th at 23:30 there; 23.5 hours later it is the 30th already. v begins an hour later, on the 29th.
    """
    insert(
        client,
        [
            Act("u", utc("2026-03-28T22:30"), "a"),
            Act("u", utc("2026-03-29T22:00"), "a"),  # the 30th, 00:00: day 2
            Act("v", utc("2026-03-28T23:30"), "a"),
            Act("v", utc("2026-03-29T21:59"), "a"),  # still the 29th, 23:59: day 0
            Act("v", utc("2026-03-31T21:59"), "a"),  # the 31st: day 2
        ],
    )
    part = Slice(ACME, utc("2026-03-20T00:00"), utc("2026-04-20T00:00"), "Europe/Berlin")
    first, second, overall = found(client, RetentionSpec(part, period_count=3), now=utc("2026-03-31T22:00"))
    assert (first.start_time, first.size, counts(first)) == (utc("2026-03-27T23:00"), 1, [1, 0, 1, 0])
    assert (second.start_time, second.size, counts(second)) == (utc("2026-03-28T23:00"), 1, [1, 0, 1])
    assert [cell.is_complete for cell in first.cells] == [True] * 4
    assert [cell.percent for cell in overall.cells] == [100, 0, 100, 0]
    assert (overall.size, counts(overall)) == (2, [2, 0, 2, 0])
    by_utc, _ = found(client, RetentionSpec(Slice(ACME, part.start_time, part.end_time), period_count=3), now=SPRING)
    assert (by_utc.start_time, by_utc.size) == (utc("2026-03-28T00:00"), 2)


def test_the_running_period_is_there_and_not_complete_and_later_ones_are_not(client: "Client") -> None:
    insert(client, [Act("u", utc("2026-03-02T10:00"), "a"), Act("v", utc("2026-03-04T10:00"), "a")])
    part = Slice(ACME, utc("2026-03-01T00:00"), utc("2026-04-01T00:00"))
    spec = RetentionSpec(part, period_count=5)
    older, newer, overall = found(client, spec, now=utc("2026-03-04T18:00"))
    assert [cell.is_complete for cell in older.cells] == [True, True, False]
    assert [cell.is_complete for cell in newer.cells] == [False]
    assert [int(cell.value) for cell in overall.cells] == [1, 0]
    # What is not in the reading yet is not over, either.
    older, _, _ = found(client, spec, now=utc("2026-03-04T18:00"), known=utc("2026-03-03T23:00"))
    assert [cell.is_complete for cell in older.cells] == [True, False, False]
    # A slice that ends says nothing of what came after it.
    ended = RetentionSpec(Slice(ACME, part.start_time, utc("2026-03-03T00:00")), period_count=5)
    (cohort, _) = found(client, ended, now=utc("2026-06-01T00:00"))
    assert [cell.is_complete for cell in cohort.cells] == [True]


def test_the_denominator_is_everybody_who_began(client: "Client") -> None:
    acts = [Act(f"u{n}", utc("2026-03-02T10:00"), "a") for n in range(4)]
    acts += [Act("u0", utc("2026-03-03T10:00"), "a"), Act("u1", utc("2026-03-04T10:00"), "a")]
    insert(client, acts)
    insert_events(client, [{"organization_id": OTHER, "user_id": "u2", "event_time": utc("2026-03-03T10:00")}])
    part = Slice(ACME, utc("2026-03-01T00:00"), utc("2026-04-01T00:00"))
    for retained, percents in (
        (RetentionKind.N_DAY, [100, 25, 25, 0]),
        (RetentionKind.UNBOUNDED, [100, 50, 25, 0]),
    ):
        cohort, _ = found(client, RetentionSpec(part, period_count=3, kind=retained), now=utc("2026-03-30T00:00"))
        assert [cell.percent for cell in cohort.cells] == percents
    spec = RetentionSpec(part, kind=RetentionKind.BRACKET, brackets=(1, 7, 14))
    cohort, _ = found(client, spec, now=utc("2026-03-30T00:00"))
    assert [cell.percent for cell in cohort.cells] == [100, 25, 25, 0]


def test_other_currencies_are_left_out_of_revenue(client: "Client") -> None:
    rows = [
        {"user_id": "u", "event_time": utc("2026-03-02T10:00"), "is_conversion": 1, "value": value, "currency": code}
        for value, code in (("10.000001", "EUR"), ("5", "USD"))
    ]
    insert_events(client, rows, counts=False)
    part = Slice(ACME, utc("2026-03-01T00:00"), utc("2026-04-01T00:00"), currency="EUR")
    spec = RetentionSpec(part, period_count=1, metric=RetentionMetric.REVENUE)
    cohort, _ = found(client, spec, now=utc("2026-03-30T00:00"))
    assert [cell.value for cell in cohort.cells] == [Decimal("10.000001"), 0]
    assert [cell.percent for cell in cohort.cells] == [None, None]


acts = st.builds(
    Act,
    st.sampled_from(["u", "v", "w"]),
    st.integers(0, 14 * 48).map(lambda half_hours: SPRING - timedelta(days=4) + timedelta(minutes=30 * half_hours)),
    st.sampled_from(KINDS),
    st.none() | st.decimals(0, 100, places=6),
)


@given(
    st.lists(acts, max_size=14),
    st.sampled_from(["Europe/Berlin", "UTC", "America/New_York", "Asia/Kolkata", "Africa/Cairo"]),
    st.integers(0, 12),
    st.sampled_from(["", "b"]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clickhouse_and_python_find_the_same_cohorts(
    client: "Client", done: list[Act], zone: str, days: int, return_kind: str
) -> None:
    client.command("TRUNCATE TABLE events")
    insert(client, done)
    insert_events(client, [{"user_id": "", "event_time": SPRING, "event_type": each} for each in KINDS], counts=False)
    start, now = SPRING - timedelta(days=5), SPRING + timedelta(days=days, hours=7)
    part = Slice(ACME, start, now, zone, currency="EUR")
    seen = [act for act in done if start <= act.time < now]
    for period in Period:
        for retained in RetentionKind:
            for metric in RetentionMetric:
                brackets = (1, 3, 4) if retained is RetentionKind.BRACKET else ()
                spec = RetentionSpec(part, kind("a"), kind(return_kind or "a"), period, 4, retained, brackets, metric)
                expected = matrix(
                    seen,
                    period=period.value,
                    zone=part.zone,
                    brackets=spec.buckets,
                    is_unbounded=retained is RetentionKind.UNBOUNDED,
                    metric=metric.value,
                    start_kind="a",
                    return_kind=return_kind or "a",
                    end=now,
                )
                *cohorts, overall = found(client, spec, now=now)
                got = [
                    (
                        cohort.start_time.astimezone(part.zone).date() if cohort.start_time else None,
                        cohort.size,
                        tuple((Decimal(cell.value), cell.is_complete) for cell in cohort.cells),
                    )
                    for cohort in cohorts
                ]
                assert got == [(row.first_day, row.size, row.cells) for row in expected], spec
                whole = [[cell for cell, is_over in row.cells if is_over] for row in expected]
                longest = max(map(len, whole), default=0)
                sums = [sum(cells[at] for cells in whole if len(cells) > at) for at in range(longest)]
                assert [cell.value for cell in overall.cells] == sums
                assert sum(len(row.cells) for row in expected) <= cell_count(spec)
