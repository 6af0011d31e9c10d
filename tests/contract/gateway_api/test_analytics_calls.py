"""What a client asks of reports reaches analytics_svc as it was meant, and comes back in the specification's shape."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from analytics_svc.dimension import DIMENSIONS as OF_THE_SERVICE
from analytics_svc.metric import METRICS, Unit
from ingress_gateway.routes.analytics import reports
from ingress_gateway.routes.analytics.question import DIMENSIONS
from svc_runtime.errors import InvalidArgumentError, QueryLimitError, RateLimitedError, Violation
from tests.contract.gateway_api.fakes import OTHER_KEY
from tests.contract.gateway_api.mesh import Mesh, running_mesh
from trellis.analytics.v1 import behavior_pb2 as behavior
from trellis.analytics.v1 import report_pb2 as report
from trellis.type.v1 import predicate_pb2 as predicate

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

ROOT = "/api/v1/analytics"
RULE = {"all": [{"field": "country", "operator": "in", "values": ["US", "CA"]}]}
RULE_MESSAGE = predicate.Predicate(
    all_of=predicate.PredicateList(
        predicates=[
            predicate.Predicate(
                condition=predicate.Condition(field="country", operator=predicate.OPERATOR_IN, values=["US", "CA"])
            )
        ]
    )
)


def of_type(name: str) -> predicate.Predicate:
    return predicate.Predicate(
        condition=predicate.Condition(field="event_type", operator=predicate.OPERATOR_EQUALS, values=[name])
    )


def asked(mesh: Mesh) -> Any:
    (request,) = mesh.analytics.requests
    return request


async def test_the_gateway_knows_every_dimension_of_the_service() -> None:
    assert set(DIMENSIONS) | {"currency"} == set(OF_THE_SERVICE)


async def test_the_gateway_rounds_the_percentages_of_the_service() -> None:
    percentages = {metric.name for metric in METRICS.values() if metric.unit is Unit.PERCENT}
    assert percentages == {name for name in METRICS if name.endswith("_rate")}
    assert set(METRICS) >= {*reports.METRICS, *reports.LINES}


async def test_a_campaign_answers_in_the_shape_of_the_specification(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ROOT}/campaigns?campaign_id=tiktok_organic_q2_2024")
    assert answer.status == 200
    info = answer.json["info"]
    assert answer.json == {
        "campaign_id": "tiktok_organic_q2_2024",
        "period": "2024-03-01 to 2024-06-01",
        "metrics": {
            "clicks": 15420,
            "unique_users": 12350,
            "conversions": 468,
            "conversion_rate": 3.04,
            "revenue": 127840.50,
            "average_order_value": 273.16,
            "roas": 0,
            "top_converting_hours": [19, 20, 21],
            "top_converting_days": ["friday", "saturday"],
            "device_breakdown": {"mobile": 14200, "tablet": 1100, "desktop": 120},
        },
        "info": info,
    }
    assert b'"revenue":127840.50,' in answer.body, "money is written out to the cent"
    assert list(answer.json["metrics"]["device_breakdown"]) == ["mobile", "tablet", "desktop"]
    assert info == {
        "watermark": "2026-11-03T12:00:00Z",
        "start": "2024-03-01T00:00:00Z",
        "end": "2024-06-01T00:00:00Z",
        "time_zone": "UTC",
        "currency": "USD",
        "other_revenue": [{"currency": "EUR", "amount": 12.5}],
        "sources": ["day"],
        "rows_read": 248,
        "elapsed_seconds": 0.004,
        "is_cached": False,
    }
    request = asked(mesh)
    assert not request.slice.HasField("filter")
    assert not request.slice.time_range.HasField("start_time")


async def test_the_metrics_of_the_specifications_example_are_passed_on(mesh: Mesh) -> None:
    path = f"{ROOT}/campaigns?campaign_id=tiktok_organic_q2_2024&metrics=clicks,conversions,revenue"
    answer = await mesh.get(path)
    assert list(answer.json["metrics"])[:3] == ["clicks", "conversions", "revenue"]
    assert asked(mesh).metrics == ["clicks", "conversions", "revenue"]
    assert not asked(mesh).slice.dimension_filters, "the campaign is the question, and no filter beside it"


async def test_without_a_campaign_there_is_a_table_of_all(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ROOT}/campaigns?limit=7&order_by=revenue&order=asc&compare=previous_year")
    request = asked(mesh)
    assert request.dimensions == ["campaign_id"]
    assert (request.page_size, request.order_by, request.is_ascending) == (7, "revenue", True)
    assert request.comparison == report.COMPARISON_PREVIOUS_YEAR
    (row,) = answer.json["rows"]
    assert row["dimensions"] == {"campaign_id": "a campaign_id"}
    assert row["metrics"] == row["comparison"] == answer.json["totals"] == answer.json["comparison_totals"]
    assert answer.json["next_page_token"] == "next"


async def test_several_campaigns_are_a_table_of_those(mesh: Mesh) -> None:
    await mesh.get(f"{ROOT}/campaigns?campaign_id=a&campaign_id=b")
    (chosen,) = asked(mesh).slice.dimension_filters
    assert (chosen.dimension, chosen.values) == ("campaign_id", ["a", "b"])


async def test_a_query_says_which_events(mesh: Mesh) -> None:
    query = (
        "start=2026-03-01&end=2026-03-29T12:00:00%2B02:00&time_zone=Europe/Berlin&include_bots=true&currency=EUR"
        f"&filter={quote(orjson.dumps(RULE))}&source=facebook&source=google&param.zoneid=7&header.X-A=b"
        f"&where={quote(orjson.dumps({'currency': 'USD'}))}"
    )
    assert (await mesh.get(f"{ROOT}/timeseries?{query}")).status == 200
    part = asked(mesh).slice
    assert part.time_range.start_time.ToDatetime(UTC) == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert part.time_range.end_time.ToDatetime(UTC) == datetime(2026, 3, 29, 10, tzinfo=UTC)
    assert (part.time_zone, part.includes_bots, part.currency) == ("Europe/Berlin", True, "EUR")
    assert part.filter == RULE_MESSAGE
    assert {chosen.dimension: list(chosen.values) for chosen in part.dimension_filters} == {
        "currency": ["USD"],
        "source": ["facebook", "google"],
        "param.zoneid": ["7"],
        "header.X-A": ["b"],
    }


async def test_a_body_says_the_same(mesh: Mesh) -> None:
    body = {
        "start": "2026-03-01",
        "end": "2026-03-02",
        "filter": RULE,
        "where": {"source": ["facebook", ""], "campaign_id": "x"},
        "metrics": ["clicks"],
        "granularity": "hour",
        "compare": "previous_period",
    }
    answer = await mesh.post(f"{ROOT}/timeseries", body)
    assert (answer.status, answer.json["granularity"]) == (200, "hour")
    request = asked(mesh)
    assert request.slice.filter == RULE_MESSAGE
    assert {chosen.dimension: list(chosen.values) for chosen in request.slice.dimension_filters} == {
        "source": ["facebook", ""],
        "campaign_id": ["x"],
    }
    assert request.comparison == report.COMPARISON_PREVIOUS_PERIOD
    assert answer.json["comparison_series"] == answer.json["series"]


async def test_the_end_of_a_month_in_dates_is_the_first_of_the_next(mesh: Mesh) -> None:
    await mesh.get(f"{ROOT}/sources?start=2024-03-01&end=2024-06-01&time_zone=America/New_York")
    time_range = asked(mesh).slice.time_range
    assert time_range.start_time.ToDatetime(UTC) == datetime(2024, 3, 1, 5, tzinfo=UTC)
    assert time_range.end_time.ToDatetime(UTC) == datetime(2024, 6, 1, 4, tzinfo=UTC)


async def test_who_asks_for_bots_by_name_sees_them(mesh: Mesh) -> None:
    await mesh.get(f"{ROOT}/sources?is_bot=true")
    assert asked(mesh).slice.includes_bots


@pytest.mark.parametrize(
    ("path", "dimensions"),
    [
        ("sources", ["source", "medium", "channel"]),
        ("geo", ["country"]),
        ("geo?level=region", ["country", "region"]),
        ("geo?level=city", ["country", "region", "city"]),
        ("devices", ["device_type"]),
        ("devices?level=os", ["os"]),
        ("devices?level=browser", ["browser"]),
        ("breakdown?dimensions=param.zoneid,%20hour", ["param.zoneid", "hour"]),
    ],
)
async def test_tables_have_the_dimensions_of_their_route(mesh: Mesh, path: str, dimensions: list[str]) -> None:
    answer = await mesh.get(f"{ROOT}/{path}")
    assert asked(mesh).dimensions == dimensions == answer.json["dimensions"]
    assert asked(mesh).metrics == ["clicks", "unique_users", "conversions", "conversion_rate", "revenue"]


async def test_a_number_that_is_not_there_is_null(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ROOT}/sources?metrics=nothing,revenue")
    assert answer.json["totals"] == {"nothing": None, "revenue": 127840.5}


async def test_steps_are_event_types_and_rules_with_names_or_without(mesh: Mesh) -> None:
    rule = orjson.dumps(RULE).decode()
    listed = orjson.dumps(["lead", {"name": "sold", "filter": "purchase"}]).decode()
    query = "&".join(f"{name}={quote(text)}" for name, text in (("step", "click"), ("step", rule), ("steps", listed)))
    answer = await mesh.get(f"{ROOT}/funnel?{query}&window=36h&actor=session&strict_order=true&dimension=source")
    request = asked(mesh)
    assert [step.name for step in request.steps] == ["click", "", "lead", "sold"]
    assert [step.predicate for step in request.steps] == [
        of_type("click"),
        RULE_MESSAGE,
        of_type("lead"),
        of_type("purchase"),
    ]
    assert request.window.ToTimedelta() == timedelta(hours=36)
    assert (request.actor, request.is_strict_order, request.dimension) == (behavior.ACTOR_SESSION, True, "source")
    assert answer.json["funnels"][0]["steps"][2] == {
        "name": "lead",
        "count": 33,
        "percent_of_first": 33.33,
        "percent_of_previous": 33.33,
    }
    mesh.analytics.requests.clear()
    assert (await mesh.post(f"{ROOT}/funnel", {"steps": ["click", {"name": "paid", "filter": RULE}]})).status == 200
    assert [(step.name, step.predicate) for step in asked(mesh).steps] == [
        ("click", of_type("click")),
        ("paid", RULE_MESSAGE),
    ]


async def test_retention_takes_what_it_names(mesh: Mesh) -> None:
    query = "period=week&periods=4&kind=bracket&brackets=1,3,4&start_events=click&metric=revenue"
    answer = await mesh.get(f"{ROOT}/retention?{query}&return_events={quote(orjson.dumps(RULE))}")
    request = asked(mesh)
    assert (request.period, request.period_count) == (report.GRANULARITY_WEEK, 4)
    assert (request.kind, request.brackets) == (behavior.RETENTION_KIND_BRACKET, [1, 3, 4])
    assert (request.start_predicate, request.return_predicate) == (of_type("click"), RULE_MESSAGE)
    assert answer.json["overall"] == {
        "start": None,
        "size": 9,
        "cells": [{"value": 1.23, "percent": None, "is_complete": True}],
    }


async def test_cohorts_are_by_the_week(mesh: Mesh) -> None:
    answer = await mesh.post(f"{ROOT}/cohorts", {"start_events": RULE, "brackets": []})
    request = asked(mesh)
    assert (request.period, request.period_count) == (report.GRANULARITY_WEEK, 8)
    assert request.start_predicate == RULE_MESSAGE
    assert answer.json["cohorts"][0]["cells"] == [{"value": 3, "percent": 33.33, "is_complete": True}]


async def test_a_journey_is_told_event_by_event(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ROOT}/journeys?user_id=usr_customer123&converted_only=true&limit=5")
    request = asked(mesh)
    assert (request.user_id, request.is_converted_only, request.page_size) == ("usr_customer123", True, 5)
    (journey,) = answer.json["journeys"]
    assert journey["touches"][0]["value"] is None
    assert (journey["touches"][1]["value"], journey["touches"][1]["currency"]) == (149.99, "USD")
    assert journey["revenue"] == [{"currency": "USD", "amount": 149.99}]


async def test_paths_take_what_they_name(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ROOT}/paths?dimension=source&lookback=2w&collapse_repeats=true&include_unconverted=true")
    request = asked(mesh)
    assert (request.dimension, request.lookback.ToTimedelta()) == ("source", timedelta(weeks=2))
    assert request.collapses_repeats
    assert request.includes_unconverted
    assert answer.json["paths"] == [
        {"values": ["email", "direct"], "conversion_count": 2, "unconverted_count": 3, "revenue": 1799.88}
    ]


@pytest.mark.parametrize(
    ("path", "violations"),
    [
        ("timeseries?metrics=", {"metrics": None}),
        ("timeseries?granularity=eon", {"granularity": "is 'eon', must be one of: minute, hour, day, week, month"}),
        ("timeseries?time_zone=Mars/Olympus", {"time_zone": None}),
        ("timeseries?start=2026-02-30", {"start": None}),
        ("timeseries?start=2026-03-02&end=2026-03-02", {"end": None}),
        ("timeseries?start=9999-12-31T23:59:59-10:00", {"start": None}),
        ("timeseries?filter=%7B", {"filter": "is not JSON at character 2"}),
        ("timeseries?filter=%7B%22field%22:%22colour%22,%22operator%22:%22exists%22%7D", {"filter.field": None}),
        ("timeseries?where=%5B1%5D", {"where": None}),
        ("timeseries?where=%7B%22source%22:%5B%5D%7D", {"where.source": "must be a text or a list of texts"}),
        ("timeseries?source=&param.a=%FF", {"source": None, "param.a": "must be UTF-8"}),
        ("timeseries?param.%FF=a&param.=b", {"param.\ufffd": "must be UTF-8"}),
        ("timeseries?soruce=facebook", {"soruce": None}),
        ("timeseries?compare=yesterday&limit=101", {"compare": None, "limit": None}),
        ("breakdown", {"dimensions": "is required: 1 to 5 names of /api/v1/analytics/catalog"}),
        ("campaigns?campaign_id=", {"campaign_id": "is empty; give a value or leave it out"}),
        ("campaigns?campaign_id=a&order=asc", {"order": None}),
        ("funnel", {"steps": "has 0, must have 1 to 32: give `step` or `steps`"}),
        ("funnel?step=click&window=7", {"window": None}),
        ("funnel?step=%7B", {"step[0]": None}),
        (
            "funnel?step=click&step=%FF",
            {
                "step": "must be UTF-8",
            },
        ),
        ("funnel?steps=%7B%7D", {"steps": None}),
        ("retention?brackets=1,x", {"brackets": None}),
        ("retention?period=year", {"period": "is 'year', must be one of: day, week, month"}),
        ("journeys?limit=501", {"limit": None}),
        ("realtime?limit=0&campaign_id=a&campaign_id=b", {"limit": None, "campaign_id": None}),
    ],
)
async def test_a_bad_question_is_refused_by_name(mesh: Mesh, path: str, violations: dict[str, str | None]) -> None:
    answer = await mesh.get(f"{ROOT}/{path}")
    assert (answer.status, answer.reason) == (400, "INVALID_ARGUMENT"), answer.body
    assert answer.violations.keys() >= violations.keys()
    assert all(text is None or answer.violations[field] == text for field, text in violations.items())
    assert not mesh.analytics.requests


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"steps": []}, "steps"),
        ({"steps": "click"}, "steps"),
        ({"steps": [None]}, "steps[0]"),
        ({"steps": ["click", {"name": 1, "filter": "x"}]}, "steps[1]"),
        ({"steps": ["click", {"name": "a", "filter": {"any": []}}]}, "steps[1].any"),
        ({"steps": ["click"], "where": {"source": 7}}, "where.source"),
        ({"steps": ["click"], "source": "facebook"}, "source"),
        ({"steps": ["click"], "filter": "source=a"}, "filter"),
    ],
)
async def test_a_bad_body_is_refused_by_path(mesh: Mesh, body: Any, field: str) -> None:
    answer = await mesh.post(f"{ROOT}/funnel", body)
    assert answer.status == 400
    assert field in answer.violations


async def test_what_the_service_refuses_is_told_in_the_clients_names(mesh: Mesh) -> None:
    paths = ("slice.time_range", "slice.currency", "slice.filter", "series_limit", "metrics[1]", "page_size")
    mesh.analytics.does.error = InvalidArgumentError.of([Violation(path, "is no good") for path in paths])
    answer = await mesh.get(f"{ROOT}/timeseries")
    assert answer.status == 400
    assert list(answer.violations) == ["end", "currency", "filter", "limit", "metrics[1]"]
    assert answer.json["detail"].startswith("end: is no good; currency: is no good")
    answer = await mesh.get(f"{ROOT}/breakdown?dimensions=x")
    mesh.analytics.does.error = InvalidArgumentError.of([Violation("dimensions[0]", "'x' is no dimension")])
    assert (await mesh.get(f"{ROOT}/breakdown?dimensions=x")).violations == {"dimensions": "'x' is no dimension"}


async def test_limits_are_422_and_429(mesh: Mesh) -> None:
    mesh.analytics.does.error = QueryLimitError("the query ran longer than it may: ask for less")
    answer = await mesh.get(f"{ROOT}/sources")
    assert (answer.status, answer.reason) == (422, "QUERY_LIMIT")
    mesh.analytics.does.error = RateLimitedError("8 queries run already", retry_after_seconds=3)
    answer = await mesh.get(f"{ROOT}/sources")
    assert (answer.status, answer.reason, answer.headers["Retry-After"]) == (429, "RATE_LIMITED", "3")


async def test_another_organisations_campaign_is_like_none(mesh: Mesh) -> None:
    theirs = await mesh.get(f"{ROOT}/campaigns?campaign_id=summer_sale", key=OTHER_KEY)
    assert (theirs.status, theirs.reason) == (404, "NOT_FOUND")
    assert theirs.json["detail"] == "no campaign 'summer_sale'"


async def test_a_long_filter_goes_by_a_body(mesh: Mesh) -> None:
    rule = {"field": "param.zoneid", "operator": "in", "values": [f"zone {n}" for n in range(10_000)]}
    assert (await mesh.post(f"{ROOT}/sources", {"filter": rule})).status == 200
    assert len(asked(mesh).slice.filter.condition.values) == 10_000


@pytest.mark.asyncio(loop_scope="function")
async def test_a_report_may_take_as_long_as_the_setting_says(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, query_seconds=0.3, api_seconds=0.01) as mesh:
        mesh.analytics.does.delay_seconds = 0.1
        assert (await mesh.get(f"{ROOT}/sources")).status == 200
        mesh.analytics.does.delay_seconds = 5.0
        answer = await mesh.get(f"{ROOT}/sources")
        assert (answer.status, answer.reason) == (504, "DEADLINE_EXCEEDED")
        assert answer.json["detail"] == "the service behind this call did not answer within 0.3 s"
