"""Which tables are taken for which question."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_svc.dimension import DIMENSIONS
from analytics_svc.metric import MEASURES
from analytics_svc.plan import DAY_DIMENSIONS, HOUR_DIMENSIONS, Plan, Source, plan_of
from analytics_svc.slice import DimensionFilter, Slice
from analytics_svc.steps import Granularity, steps_of
from analytics_svc.store import rollups
from rule_language.predicate import Condition, Not, Operator, Predicate

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
CLICKS, USERS, IPS = (MEASURES["clicks"],), (MEASURES["users"],), (MEASURES["ips"],)


def part(start: datetime = START, end: datetime = START + 30 * DAY, zone: str = "UTC", **more: object) -> Slice:
    return Slice("org", start, end, zone, **more)  # type: ignore[arg-type]  # each test gives what it is about


def only(name: str, *values: str) -> tuple[DimensionFilter, ...]:
    return (DimensionFilter(DIMENSIONS[name], values),)


def taken(plan: Plan) -> dict[Source, int]:
    """Return the milliseconds that each table answers."""
    return {one.source: sum(end - start for start, end in one.ranges) for one in plan.parts}


def test_the_planner_knows_the_dimensions_of_the_rollups() -> None:
    assert frozenset(rollups.DAY_DIMENSIONS) == DAY_DIMENSIONS
    assert frozenset(rollups.HOUR_DIMENSIONS) == HOUR_DIMENSIONS


@pytest.mark.parametrize(
    ("dimensions", "filters", "wanted"),
    [
        ((), (), "day"),
        (("country",), (), "day"),
        (("campaign_id",), (), "day"),
        (("country", "campaign_id"), (), "day"),
        (("date", "source"), (), "day"),
        (("country",), only("country", "DE"), "day"),
        (("country",), only("campaign_id", "cmp"), "day"),
        ((), only("campaign_id", "cmp"), "day"),
        (("country", "source"), (), "events"),
        (("country",), only("source", "x"), "events"),
        (("host",), (), "events"),
        (("hour",), (), "minute"),
        (("hour",), only("campaign_id", "cmp"), "minute"),
        (("hour",), only("country", "DE"), "events"),
    ],
)
def test_sums_of_whole_utc_days_by(
    dimensions: tuple[str, ...], filters: tuple[DimensionFilter, ...], wanted: str
) -> None:
    assert plan_of(part(dimension_filters=filters), dimensions=dimensions, measures=CLICKS).sources == (wanted,)


@pytest.mark.parametrize(
    ("dimensions", "filters", "wanted"),
    [
        ((), (), "day"),
        (("country",), (), "day"),
        (("campaign_id",), (), "day"),
        ((), only("campaign_id", "cmp"), "day"),
        (("country",), only("campaign_id", "cmp"), "events"),
        (("date",), (), "events"),
        (("hour",), (), "events"),
    ],
)
def test_visitors_of_whole_utc_days_by(
    dimensions: tuple[str, ...], filters: tuple[DimensionFilter, ...], wanted: str
) -> None:
    assert plan_of(part(dimension_filters=filters), dimensions=dimensions, measures=USERS).sources == (wanted,)


def test_what_the_rollups_do_not_have_comes_from_the_events_alone() -> None:
    assert plan_of(part(), dimensions=(), measures=CLICKS + IPS).sources == ("events",)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Condition("source", Operator.CONTAINS, ("tik",)), "day"),
        (Not(Condition("source", Operator.EQUALS, ("x",))), "day"),
        (Condition("is_bot", Operator.EQUALS, ("true",)), "day"),
        (Condition("hour", Operator.EQUALS, ("3",)), "minute"),
        # The roll-ups do not tell an unknown country from none.
        (Condition("country", Operator.EQUALS, ("DE",)), "events"),
        (Condition("param.x", Operator.EXISTS), "events"),
        (Condition("url", Operator.CONTAINS, ("x",)), "events"),
    ],
)
def test_a_rule_is_left_to_the_rollups_where_they_see_the_same(rule: Predicate, wanted: str) -> None:
    assert plan_of(part(filter=rule), dimensions=(), measures=CLICKS).sources == (wanted,)


def test_ragged_edges_come_from_finer_tables() -> None:
    asked = part(START + timedelta(hours=5, seconds=30), START + 3 * DAY + timedelta(minutes=7, milliseconds=9))
    found = taken(plan_of(asked, dimensions=(), measures=CLICKS))
    assert found[Source.DAY] == 2 * 86_400_000
    assert found[Source.EVENTS] == 30_000 + 9
    assert found[Source.MINUTE] == (18 * 60 + 59 + 7) * 60_000
    by_country = taken(plan_of(asked, dimensions=("country",), measures=CLICKS))
    assert set(by_country) == {Source.DAY, Source.EVENTS}


def test_days_of_another_zone_are_made_of_hours_and_minutes() -> None:
    asked = part(START - timedelta(hours=1), START + 29 * DAY + timedelta(hours=22), "Europe/Berlin")
    steps = steps_of(asked.start_time, asked.end_time, asked.zone, Granularity.DAY)
    plan = plan_of(asked, dimensions=(), measures=CLICKS + USERS, steps=steps)
    assert plan.sources == ("minute", "hour")
    kolkata = part(START - timedelta(hours=5.5), START + timedelta(days=10, hours=-5.5), "Asia/Kolkata")
    steps = steps_of(kolkata.start_time, kolkata.end_time, kolkata.zone, Granularity.DAY)
    # No whole hour lies over a day's boundary there, and all others are taken.
    assert Source.EVENTS in taken(plan_of(kolkata, dimensions=(), measures=USERS, steps=steps))


def test_months_of_another_zone_are_made_of_utc_days_but_for_their_edges() -> None:
    zone = ZoneInfo("America/New_York")
    start, end = (datetime(2026, month, 1, tzinfo=zone).astimezone(UTC) for month in (1, 7))
    asked = part(start, end, str(zone))
    steps = steps_of(start, end, zone, Granularity.MONTH)
    found = taken(plan_of(asked, dimensions=("country",), measures=CLICKS, steps=steps))
    assert found[Source.DAY] == (181 - 6) * 86_400_000


moments = st.integers(0, 40 * 86_400).map(lambda second: START + timedelta(seconds=second))


@given(
    edges=st.lists(moments, min_size=2, max_size=2, unique=True),
    odd_ms=st.integers(0, 2),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"]),
    granularity=st.sampled_from([None, Granularity.HOUR, Granularity.DAY, Granularity.WEEK, Granularity.MONTH]),
    dimensions=st.lists(st.sampled_from(["country", "campaign_id", "hour", "is_bot"]), max_size=2, unique=True),
)
def test_every_measure_is_answered_once_for_every_instant_and_no_unit_lies_over_an_edge(
    edges: list[datetime], odd_ms: int, zone: str, granularity: Granularity | None, dimensions: list[str]
) -> None:
    start, end = sorted(edges)
    asked = part(start, end + timedelta(milliseconds=odd_ms), zone)
    steps = steps_of(asked.start_time, asked.end_time, asked.zone, granularity) if granularity else ()
    plan = plan_of(asked, dimensions=dimensions, measures=CLICKS + USERS, steps=steps)
    first, last = (round(edge.timestamp() * 1000) for edge in (asked.start_time, asked.end_time))
    units = {
        Source.DAY: 86_400_000,
        Source.UNIQUE_DAY: 86_400_000,
        Source.UNIQUE_HOUR: 3_600_000,
        Source.MINUTE: 60_000,
    }
    for measure in CLICKS + USERS:
        ranges = sorted(one for found in plan.parts if measure in found.measures for one in found.ranges)
        assert ranges[0][0] == first
        assert ranges[-1][1] == last
        assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    for found in plan.parts:
        unit = units.get(found.source, 1)
        assert all(low % unit == 0 and high % unit == 0 for low, high in found.ranges)
        for step in steps:
            edge = round(step.timestamp() * 1000)
            cell = edge // unit * unit
            if edge != cell:
                assert not any(low <= cell < high for low, high in found.ranges)
