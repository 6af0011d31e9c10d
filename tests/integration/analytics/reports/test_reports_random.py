"""Reports against plain Python, over random events and random questions: numbers do not depend on the tables taken."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.cache import Results
from analytics_svc.compile import Order, Question, compile_question
from analytics_svc.dimension import Dimension, dimension_of
from analytics_svc.metric import METRICS, measures_of
from analytics_svc.plan import Part, Plan, Source
from analytics_svc.query import BreakdownSpec, TimeseriesSpec
from analytics_svc.reports import Reports
from analytics_svc.slice import DimensionFilter, Slice
from analytics_svc.steps import Granularity
from analytics_svc.store import rollups
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.reader import ClickHouseReadingReader
from rule_language.predicate import AllOf, Condition, Not, Operator, Predicate
from svc_runtime.clickhouse import Dsn
from svc_runtime.clock import SystemClock
from tests.integration.analytics.reports import reference
from tests.reading import insert_events

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

START = datetime(2026, 3, 27, tzinfo=UTC)
"""Berlin moves its clock on the 29th, New York did on the 8th."""
MINUTES = 6 * 24 * 60
_numbers = itertools.count()
_SHARED = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Rule(NamedTuple):
    """A filter as both sides know it."""

    filter: Predicate | None
    chosen: tuple[tuple[str, tuple[str, ...]], ...]
    passes: Callable[[reference.Row, str], bool]


def _is(name: str, *values: str) -> Rule:
    return Rule(None, ((name, values),), lambda row, zone: reference.value_of(row, name, zone) in values)


RULES = (
    Rule(None, (), lambda row, zone: True),
    _is("campaign_id", "cmp_1"),
    _is("campaign_id", "cmp_1", ""),
    _is("country", "DE", ""),
    _is("country", ""),
    _is("source", "tiktok"),
    _is("hour", "01", "02", "23"),
    _is("date", "2026-03-29"),
    _is("weekday", "sunday"),
    _is("is_bot", "true"),
    _is("param.zone", "7"),
    _is("param.zone", ""),
    Rule(Condition("source", Operator.EQUALS, ("TikTok",)), (), lambda row, _: row["source"] == "tiktok"),
    Rule(Not(Condition("source", Operator.EQUALS, ("tiktok",))), (), lambda row, _: row["source"] != "tiktok"),
    Rule(Condition("country", Operator.EQUALS, ("de",)), (), lambda row, _: row["country"] == "DE"),
    # Unknown is not "another country", empty is.
    Rule(Not(Condition("country", Operator.EQUALS, ("de",))), (), lambda row, _: row["country"] not in ("DE", None)),
    Rule(
        Condition("hour", Operator.BETWEEN, ("1", "3")),
        (),
        lambda row, zone: 1 <= int(reference.value_of(row, "hour", zone)) <= 3,
    ),
    Rule(
        AllOf((Condition("is_bot", Operator.EQUALS, ("false",)), Condition("os", Operator.IN, ("ios",)))),
        (),
        lambda row, _: not row["is_bot"] and row["os"] == "ios",
    ),
    Rule(
        Condition("param.zone", Operator.EQUALS, ("7",)),
        (("campaign_id", ("cmp_1", "cmp_2")),),
        lambda row, _: row["params"].get("zone") == "7" and row["campaign_id"] in ("cmp_1", "cmp_2"),
    ),
)
DIMENSIONS = (
    *("campaign_id", "country", "source", "os", "hour", "weekday", "date", "is_bot", "param.zone", "event_type"),
    "browser",
)
_moments = st.one_of(
    st.integers(0, MINUTES).map(lambda minute: START + timedelta(minutes=minute)),
    st.integers(0, MINUTES * 60_000).map(lambda at: START + timedelta(milliseconds=at)),
    st.integers(0, 6).map(lambda day: START + timedelta(days=day)),
    st.integers(0, 6 * 24).map(lambda hour: START + timedelta(hours=hour)),
)
_names = st.sampled_from(["", "a", "b", "c", "d"])


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event."""
    kind = draw(st.sampled_from(["click", "click", "pageview", "purchase"]))
    is_sale = kind == "purchase"
    has_value = is_sale and draw(st.booleans())
    has_cost = draw(st.sampled_from([False, False, True]))
    micros = st.integers(0, 10**9)
    return {
        "event_time": draw(_moments),
        "event_type": kind,
        "user_id": draw(_names),
        "session_id": draw(_names),
        "ip": draw(st.sampled_from(["", "192.0.2.1", "192.0.2.2"])),
        "source": draw(st.sampled_from(["tiktok", "google", ""])),
        "os": draw(st.sampled_from(["ios", ""])),
        "browser": draw(st.sampled_from(["chrome", "firefox"])),
        "country": draw(st.sampled_from(["DE", "US", "", None])),
        "campaign_id": draw(st.sampled_from(["cmp_1", "cmp_2", ""])),
        "is_bot": draw(st.sampled_from([0, 0, 1])),
        "params": draw(st.sampled_from([{}, {"zone": "7"}, {"zone": "8", "x": "y"}])),
        "is_conversion": int(is_sale and draw(st.booleans())),
        "value": Decimal(draw(micros)) / 10**6 if has_value else None,
        "currency": draw(st.sampled_from(["USD", "EUR", ""])) if has_value else "",
        "cost": Decimal(draw(micros)) / 10**6 if has_cost else None,
        "cost_currency": draw(st.sampled_from(["USD", "EUR"])) if has_cost else "",
    }


@st.composite
def slices(draw: st.DrawFn) -> tuple[Slice, reference.Asked]:
    """Draw which events, as both sides know it."""
    first, second = draw(_moments), draw(_moments)
    start, end = min(first, second), max(first, second) + timedelta(milliseconds=draw(st.sampled_from([0, 0, 1])))
    end = end if end > start else start + timedelta(days=1)
    rule, zone = draw(st.sampled_from(RULES)), draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
    part = Slice(
        "",
        start,
        end,
        zone,
        rule.filter,
        draw(st.booleans()),
        "USD",
        tuple(DimensionFilter(_dimension(name), values) for name, values in rule.chosen),
    )
    return part, reference.Asked(start, end, zone, part.includes_bots, lambda row: rule.passes(row, zone))


metric_names = st.lists(st.sampled_from(list(METRICS)), min_size=1, max_size=6, unique=True)


def _dimension(name: str) -> Dimension:
    found = dimension_of(name, path="", violations=[])
    assert found is not None
    return found


class Setting(NamedTuple):
    """Where a test works."""

    client: "Client"
    reader: ClickHouseReadingReader
    reports: Reports


@pytest.fixture
async def place(opened: tuple[Dsn, "Client"]) -> AsyncIterator[Setting]:
    async with ClickHouseReadingReader.open(opened[0], thread_count=2) as reader:
        results = Results(MemoryResultCache(most_bytes=0))
        yield Setting(opened[1], reader, Reports(reader, results, watermark=lambda: None, clock=SystemClock()))


def _insert(client: "Client", rows: list[dict[str, Any]]) -> str:
    """Insert events of an organisation of their own, and the same of another beside it."""
    organization_id = f"org_{next(_numbers)}"
    for row in rows:
        row["organization_id"] = organization_id
    if rows:
        insert_events(client, [*rows, *({**row, "organization_id": "org_beside"} for row in rows)])
    return organization_id


def _assert_same(found: Any, wanted: Any, context: object) -> None:
    if isinstance(wanted, float | Decimal) and found is not None:
        # Averages are made of binary fractions, and amounts are rounded to the millionth.
        assert math.isclose(float(found), float(wanted), rel_tol=1e-9, abs_tol=0.5), context
    else:
        assert found == wanted, context


def _empty(name: str) -> Any:
    return METRICS[name].of_nothing


@_SHARED
@given(
    rows=st.lists(events(), max_size=30),
    asks=st.lists(
        st.tuples(slices(), st.lists(st.sampled_from(DIMENSIONS), min_size=1, max_size=2, unique=True), metric_names),
        min_size=1,
        max_size=4,
    ),
)
async def test_a_breakdown_is_what_plain_python_counts(
    place: Setting,
    rows: list[dict[str, Any]],
    asks: list[tuple[tuple[Slice, reference.Asked], list[str], list[str]]],
) -> None:
    organization_id = _insert(place.client, rows)
    for (part, asked), dimensions, names in asks:
        spec = BreakdownSpec(
            replace(part, organization_id=organization_id),
            tuple(map(_dimension, dimensions)),
            tuple(METRICS[name] for name in names),
            page_size=10_000,
        )
        report = await place.reports.breakdown(spec)
        every = reference.table(rows, asked, dimensions)
        # Rows that hold nothing but bots are there when bots are counted.
        wanted = {key: one for key, one in every.items() if one["events"] or ("bot_events" in names)}
        context = (spec, report.basis.sources)
        assert {row.values for row in report.rows} == set(wanted), context
        for row in report.rows:
            for name, number in zip(names, row.numbers, strict=True):
                _assert_same(number, wanted[row.values][name], (*context, row.values, name))
        totals = reference.metrics(reference.rows_of(rows, asked), asked)
        for name, number in zip(names, report.totals, strict=True):
            _assert_same(number, totals[name], (*context, name))
        ordered = [row.numbers[0] for row in report.rows]
        known = [number for number in ordered if number is not None]
        assert known == sorted(known, reverse=True)
        assert ordered == [*known, *[None] * (len(ordered) - len(known))]


@_SHARED
@given(
    rows=st.lists(events(), max_size=30),
    asks=st.lists(
        st.tuples(
            slices(),
            st.sampled_from([None, "source", "campaign_id", "param.zone"]),
            metric_names,
            st.sampled_from([Granularity.DAY, Granularity.WEEK, Granularity.MONTH]),
        ),
        min_size=1,
        max_size=4,
    ),
)
async def test_a_timeseries_is_what_plain_python_counts(
    place: Setting,
    rows: list[dict[str, Any]],
    asks: list[tuple[tuple[Slice, reference.Asked], str | None, list[str], Granularity]],
) -> None:
    organization_id = _insert(place.client, rows)
    for (part, asked), dimension, names, granularity in asks:
        spec = TimeseriesSpec(
            replace(part, organization_id=organization_id),
            granularity,
            tuple(METRICS[name] for name in names),
            _dimension(dimension) if dimension else None,
            100,
        )
        report = await place.reports.timeseries(spec)
        within = reference.rows_of(rows, asked)
        if dimension:
            shown = reference.table(rows, asked, [dimension])
            assert {one.value for one in report.series} == {
                key for (key,), one in shown.items() if one["events"] or "bot_events" in names
            }
        for series in report.series:
            own = [
                row for row in within if not dimension or reference.value_of(row, dimension, asked.zone) == series.value
            ]
            totals = reference.metrics(own, asked)
            for name, number in zip(names, series.totals, strict=True):
                _assert_same(number, totals[name], (spec, report.basis.sources, series.value, name))
            for step, point in zip(report.steps, series.points, strict=True):
                local = step.astimezone(part.zone).replace(tzinfo=None)
                there = [row for row in own if reference.step_of(row, granularity, asked.zone) == local]
                wanted = reference.metrics(there, asked)
                for name, number in zip(names, point, strict=True):
                    _assert_same(number, wanted[name], (spec, report.basis.sources, series.value, step, name))


@pytest.fixture(scope="module")
def crowd(opened: tuple[Dsn, "Client"]) -> str:
    """Insert more visitors than are counted exactly."""
    opened[1].command(
        "INSERT INTO events (organization_id, event_id, event_time, event_type, user_id, session_id, source, country,"
        " campaign_id, is_bot, params, is_conversion, value, currency, enrichment_version)"
        " SELECT 'org_crowd', generateUUIDv4(),"
        " fromUnixTimestamp64Milli(toInt64(1774569600000 + sipHash64(number) % 518400000), 'UTC'),"
        " if(number % 7 = 0, 'purchase', 'click'), toString(number % 20000), toString(number % 30011),"
        " ['tiktok', 'google'][1 + number % 2], ['DE', NULL][1 + number % 3 % 2], 'cmp_' || toString(number % 4),"
        " number % 11 = 0, map('zone', toString(number % 9)), number % 7 = 0,"
        " if(number % 7 = 0, toDecimal64(number % 1000, 6), NULL), if(number % 7 = 0, 'USD', ''), 1 FROM numbers(60000)"
    )
    rollups.add(opened[1], "events", "organization_id = 'org_crowd'")
    return "org_crowd"


@_SHARED
@given(
    chosen=slices(),
    dimensions=st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True),
    names=metric_names,
)
async def test_a_plan_with_rollups_gives_exactly_what_the_events_give(
    place: Setting, crowd: str, chosen: tuple[Slice, reference.Asked], dimensions: list[str], names: list[str]
) -> None:
    """Estimates of unique counts too: the same function over the same values."""
    part = replace(chosen[0], organization_id=crowd)
    metrics = tuple(METRICS[name] for name in names)
    order = Order(0, is_ascending=True, limit=10_000)
    question = Question(part, metrics, "USD", tuple(map(_dimension, dimensions)), order=order)
    milliseconds = tuple(round(edge.timestamp() * 1000) for edge in (part.start_time, part.end_time))
    events_alone = Plan((Part(Source.EVENTS, measures_of(metrics), (milliseconds,)),))
    best = compile_question(question)
    planned, direct = await asyncio.gather(
        place.reader.rows(best.statement), place.reader.rows(compile_question(question, plan=events_alone).statement)
    )
    assert _rounded(planned.rows) == _rounded(direct.rows), best.sources


def _rounded(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(round(value, 9) if isinstance(value, float) else value for value in row) for row in rows]
