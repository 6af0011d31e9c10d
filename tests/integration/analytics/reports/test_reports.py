"""Reports by RPC, over an embedded engine."""

import asyncio
import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.integration.analytics.reports.conftest import Asked
from tests.reading import ACME, OTHER, insert_events
from trellis.analytics.v1 import report_pb2 as pb
from trellis.type.v1 import time_range_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""
DAY = timedelta(days=1)


def range_(start: datetime, end: datetime) -> time_range_pb2.TimeRange:
    return time_range_pb2.TimeRange(start_time=_stamp(start), end_time=_stamp(end))


def _stamp(instant: datetime) -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def march(**more: Any) -> pb.Slice:
    return pb.Slice(time_range=range_(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)), **more)


def plain(values: Any) -> list[int | float | None]:
    """Return values as numbers; money in units."""
    kinds = [(value, value.WhichOneof("kind")) for value in values]
    return [
        None if kind is None else value.amount_micros / 1e6 if kind == "amount_micros" else getattr(value, kind)
        for value, kind in kinds
    ]


def breakdown(*dimensions: str, metrics: tuple[str, ...] = ("clicks",), **more: Any) -> pb.QueryBreakdownRequest:
    more.setdefault("slice", march())
    return pb.QueryBreakdownRequest(dimensions=dimensions, metrics=metrics, **more)


def table(response: pb.QueryBreakdownResponse) -> dict[str, list[int | float | None]]:
    return {"/".join(row.dimension_values): plain(row.values) for row in response.rows}


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    status = rpc_status.from_call(error)
    assert status is not None
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            return {one.field: one.description for one in bad.field_violations}
    return {}


def campaign_rows() -> list[dict[str, Any]]:
    """The campaign of the specification in small: organic, three visitors, two sales in the evening."""
    shared = {"campaign_id": "tiktok_organic_q2_2024", "source": "tiktok"}
    clicks = [
        {**shared, "user_id": f"u{number % 3}", "device_type": device, "event_time": NOON + number * DAY}
        for number, device in enumerate(["mobile", "mobile", "mobile", "tablet", "desktop"])
    ]
    friday = datetime(2026, 3, 6, 19, 30, tzinfo=UTC)
    sale = {**shared, "event_type": "purchase", "is_conversion": 1, "user_id": "u1", "device_type": "mobile"}
    sales = [
        {**sale, "event_time": friday, "value": "200.10"},
        {**sale, "event_time": friday + timedelta(days=1, hours=1), "value": "73.06"},
    ]
    return [*clicks, *sales]


async def test_a_campaigns_page_is_the_specifications(client: "Client", asked: Asked) -> None:
    insert_events(client, [*campaign_rows(), {"campaign_id": "another", "event_time": NOON - 40 * DAY}])
    insert_events(client, [{**row, "organization_id": OTHER} for row in campaign_rows()])
    report = await asked.stub.GetCampaignReport(
        pb.GetCampaignReportRequest(campaign_id="tiktok_organic_q2_2024"), metadata=asked.caller()
    )
    assert dict(zip(report.metrics, plain(report.values), strict=True)) == {
        "clicks": 5,
        "unique_users": 3,
        "conversions": 2,
        "conversion_rate": 40.0,
        "revenue": 273.16,
        "average_order_value": 136.58,
        "roas": 0.0,
    }
    assert list(report.top_converting_hours) == [19, 20]
    assert list(report.top_converting_days) == ["friday", "saturday"]
    assert dict(report.device_breakdown) == {"mobile": 3, "tablet": 1, "desktop": 1}
    assert report.info.currency == "USD"
    assert report.info.time_range.start_time.ToDatetime(UTC) == NOON
    assert report.info.time_range.end_time.ToDatetime(UTC) == datetime(2026, 3, 7, 20, 31, tzinfo=UTC)


async def test_hours_and_days_of_a_campaign_are_its_time_zones(client: "Client", asked: Asked) -> None:
    insert_events(client, campaign_rows())
    report = await asked.stub.GetCampaignReport(
        pb.GetCampaignReportRequest(
            campaign_id="tiktok_organic_q2_2024", slice=pb.Slice(time_zone="Asia/Tokyo"), metrics=["clicks"]
        ),
        metadata=asked.caller(),
    )
    assert list(report.top_converting_hours) == [4, 5]
    assert list(report.top_converting_days) == ["saturday", "sunday"]


async def test_a_campaign_without_events_in_the_range_is_there_and_one_without_any_is_not(
    client: "Client", asked: Asked
) -> None:
    insert_events(client, [*campaign_rows(), {"organization_id": OTHER, "campaign_id": "theirs"}])
    empty = pb.Slice(time_range=range_(NOON - 30 * DAY, NOON - 20 * DAY))
    report = await asked.stub.GetCampaignReport(
        pb.GetCampaignReportRequest(campaign_id="tiktok_organic_q2_2024", slice=empty), metadata=asked.caller()
    )
    assert plain(report.values) == [0, 0, 0, None, 0, None, 0.0]
    texts = []
    for missing in ("theirs", "nobody"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asked.stub.GetCampaignReport(
                pb.GetCampaignReportRequest(campaign_id=missing), metadata=asked.caller()
            )
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        texts.append(str(caught.value.details()).replace(missing, "it"))
    assert texts[0] == texts[1]


async def test_the_catalogue_names_units_and_dimensions(asked: Asked) -> None:
    found = await asked.stub.DescribeReports(pb.DescribeReportsRequest(), metadata=asked.caller())
    units = {metric.name: metric.unit for metric in found.metrics}
    assert units["conversion_rate"] == "percent"
    assert units["revenue"] == "money"
    assert all(one.description for one in (*found.metrics, *found.dimensions))
    assert "device_type" in {dimension.name for dimension in found.dimensions}


async def test_a_day_of_23_hours_is_one_step_and_empty_days_are_steps_too(client: "Client", asked: Asked) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start, end = (datetime(2026, 3, day, tzinfo=berlin).astimezone(UTC) for day in (28, 31))
    # The first and the last instant of the short day, and one after it.
    insert_events(client, [{"event_time": at} for at in (start + DAY, start + DAY * 2 - timedelta(hours=1, seconds=1))])
    insert_events(client, [{"event_time": start + DAY * 2 - timedelta(hours=1)}])
    request = pb.QueryTimeseriesRequest(
        slice=pb.Slice(time_range=range_(start, end), time_zone="Europe/Berlin"),
        granularity=pb.GRANULARITY_DAY,
        metrics=["clicks", "conversion_rate"],
    )
    response = await asked.stub.QueryTimeseries(request, metadata=asked.caller())
    (series,) = response.series
    assert [plain(point.values) for point in series.points] == [[0, None], [2, 0.0], [1, 0.0]]
    begins = [point.start_time.ToDatetime(UTC) for point in series.points]
    assert [later - first for first, later in itertools.pairwise(begins)] == [DAY, DAY - timedelta(hours=1)]
    assert plain(series.totals) == [3, 0.0]
    assert response.info.time_zone == "Europe/Berlin"


async def test_totals_of_visitors_are_no_sums(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"event_time": NOON + day * DAY, "user_id": "u1"} for day in range(3)])
    request = pb.QueryTimeseriesRequest(
        slice=march(), granularity=pb.GRANULARITY_DAY, metrics=["unique_users"], dimension="event_type"
    )
    (series,) = (await asked.stub.QueryTimeseries(request, metadata=asked.caller())).series
    assert sum(point.values[0].count for point in series.points) == 3
    assert plain(series.totals) == [1]


async def test_series_are_those_with_most_of_the_first_metric(client: "Client", asked: Asked) -> None:
    counts = {"": 4, "a": 1, "b": 3, "c": 3}
    insert_events(client, [{"source": name} for name, count in counts.items() for _ in range(count)])
    request = pb.QueryTimeseriesRequest(slice=march(), metrics=["clicks"], dimension="source", series_limit=3)
    response = await asked.stub.QueryTimeseries(request, metadata=asked.caller())
    assert [(one.value, plain(one.totals)) for one in response.series] == [("", [4]), ("b", [3]), ("c", [3])]
    assert response.granularity == pb.GRANULARITY_DAY


async def test_a_comparison_is_of_the_same_values_at_the_earlier_time(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "a"}, {"source": "a"}, {"source": "b"}])
    insert_events(client, [{"source": name, "event_time": NOON - 20 * DAY} for name in ("a", "c")])
    insert_events(client, [{"source": "b", "event_time": NOON.replace(year=2025)}])
    request = breakdown("source", comparison=pb.COMPARISON_PREVIOUS_PERIOD)
    response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert {row.dimension_values[0]: plain(row.comparison_values) for row in response.rows} == {"a": [1], "b": [0]}
    assert plain(response.totals) == [3]
    assert plain(response.comparison_totals) == [2]
    series = pb.QueryTimeseriesRequest(
        slice=march(),
        granularity=pb.GRANULARITY_MONTH,
        metrics=["clicks"],
        dimension="source",
        comparison=pb.COMPARISON_PREVIOUS_YEAR,
    )
    before = (await asked.stub.QueryTimeseries(series, metadata=asked.caller())).comparison_series
    assert [(one.value, plain(one.totals)) for one in before] == [("a", [0]), ("b", [1])]
    assert before[0].points[0].start_time.ToDatetime(UTC) == datetime(2025, 3, 1, tzinfo=UTC)


async def test_pages_hold_every_row_once_also_while_the_clock_goes_on(client: "Client", asked: Asked) -> None:
    now = asked.clock.time
    rows = [{"params": {"zone": f"z{number}"}, "event_time": now - DAY} for number in range(25) for _ in range(2)]
    insert_events(client, rows)
    request = breakdown("param.zone", slice=pb.Slice(), page_size=10)
    seen, sizes, ends = [], [], set()
    while True:
        response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
        seen += [row.dimension_values[0] for row in response.rows]
        sizes.append(len(response.rows))
        ends.add(response.info.time_range.end_time.ToDatetime(UTC))
        assert plain(response.totals) == [50]
        asked.clock.time += timedelta(minutes=10)
        insert_events(client, [{"params": {"zone": f"later{len(sizes)}"}, "event_time": asked.clock.time}] * 3)
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert sizes == [10, 10, 5]
    assert seen == sorted(f"z{number}" for number in range(25))
    assert ends == {now + timedelta(minutes=1)}


async def test_a_page_token_is_of_one_question_and_one_organization(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "a"}, {"source": "b"}])
    request = breakdown("source", page_size=1)
    request.page_token = (await asked.stub.QueryBreakdown(request, metadata=asked.caller())).next_page_token
    other = breakdown("medium", page_size=1, page_token=request.page_token)
    for wrong, caller in ((other, asked.caller()), (request, asked.caller(OTHER))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asked.stub.QueryBreakdown(wrong, metadata=caller)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert set(violations(caught.value)) == {"page_token"}


async def test_rows_of_nothing_come_last_in_both_directions(client: "Client", asked: Asked) -> None:
    sale = {"event_type": "purchase", "is_conversion": 1, "value": 1}
    insert_events(client, [{"source": "a"}, {"source": "b"}, {**sale, "source": "b"}, {**sale, "source": "c"}])
    for is_ascending, wanted in ((False, ["b", "a", "c"]), (True, ["a", "b", "c"])):
        request = breakdown(
            "source", metrics=("clicks", "conversion_rate"), order_by="conversion_rate", is_ascending=is_ascending
        )
        response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
        assert list(table(response)) == wanted


def _sales(**counts: int) -> list[dict[str, Any]]:
    return [
        {"event_type": "purchase", "is_conversion": 1, "value": "10.50", "currency": currency, "source": "x"}
        for currency, count in counts.items()
        for _ in range(count)
    ]


@pytest.mark.parametrize("dimension", ["source", "param.nothing"])
async def test_money_is_in_the_currency_of_most_conversions_and_the_others_are_told(
    client: "Client", asked: Asked, dimension: str
) -> None:
    insert_events(client, [*_sales(USD=1, EUR=3, GBP=2), {"cost": "7.25", "cost_currency": "EUR"}])
    insert_events(client, [{"cost": "1000", "cost_currency": "USD"}])
    request = breakdown(dimension, metrics=("revenue", "cost", "profit", "roas", "conversions"))
    response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert response.info.currency == "EUR"
    assert plain(response.totals) == [31.5, 7.25, 24.25, 31.5 / 7.25, 6]
    told = {one.currency: one.amount_micros / 1e6 for one in response.info.other_revenue}
    assert told == {"USD": 10.5, "GBP": 21.0}
    request.slice.currency = "gbp"
    response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert response.info.currency == "GBP"
    assert plain(response.totals) == [21.0, 0.0, 21.0, 0.0, 6]


async def test_a_currency_that_one_slice_alone_has_is_told_of_that_slice_alone(client: "Client", asked: Asked) -> None:
    insert_events(client, [{**row, "params": {"zone": row["currency"]}} for row in _sales(USD=3, EUR=1)])
    request = breakdown("source", metrics=("revenue",))
    request.slice.dimension_filters.add(dimension="param.zone", values=["EUR"])
    response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert response.info.currency == "EUR"
    assert not response.info.other_revenue
    assert plain(response.totals) == [10.5]


@pytest.mark.parametrize("more", [[], _sales(USD=2)])
@pytest.mark.parametrize("dimension", ["source", "param.zone"])
async def test_revenue_that_has_no_currency_is_told(
    client: "Client", asked: Asked, more: list[dict[str, Any]], dimension: str
) -> None:
    insert_events(client, [{**row, "currency": ""} for row in _sales(USD=3)] + more)
    response = await asked.stub.QueryBreakdown(breakdown(dimension, metrics=["revenue"]), metadata=asked.caller())
    assert [(one.currency, one.amount_micros) for one in response.info.other_revenue] == [("", 31_500_000)]
    assert response.totals[0].amount_micros == (21_000_000 if more else 0)


async def test_money_where_nobody_has_any_is_nothing_of_no_currency(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "x"}])
    request = breakdown("source", metrics=("revenue", "average_order_value", "roas", "revenue_per_click"))
    response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert response.info.currency == ""
    assert table(response) == {"x": [0.0, None, 0.0, 0.0]}


async def test_bots_are_left_out_unless_asked_for_and_counted_apart(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "a"}, {"source": "a", "is_bot": 1}, {"source": "b", "is_bot": 1}])
    metrics = ("clicks", "bot_events")
    response = await asked.stub.QueryBreakdown(breakdown("source", metrics=metrics), metadata=asked.caller())
    assert table(response) == {"a": [1, 1], "b": [0, 1]}
    request = breakdown("source", metrics=metrics, slice=march(includes_bots=True))
    assert table(await asked.stub.QueryBreakdown(request, metadata=asked.caller())) == {"a": [2, 1], "b": [1, 1]}


TEN_YEARS = pb.Slice(time_range=range_(datetime(2016, 6, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("request_", "field", "valid"),
    [
        (pb.QueryTimeseriesRequest(metrics=["nonsense"]), "metrics[0]", "unique_users"),
        (pb.QueryTimeseriesRequest(), "metrics", "unique_users"),
        (pb.QueryTimeseriesRequest(metrics=["clicks"], dimension="shoe_size"), "dimension", "device_type"),
        (pb.QueryTimeseriesRequest(metrics=["clicks"], slice=pb.Slice(time_zone="Mars")), "slice.time_zone", "Mars"),
        (pb.QueryTimeseriesRequest(metrics=["clicks"], granularity=99), "granularity", "week"),
        (pb.QueryTimeseriesRequest(metrics=["clicks"], comparison=99), "comparison", "previous_year"),
        (pb.QueryTimeseriesRequest(metrics=["clicks"], series_limit=101), "series_limit", "100"),
        (
            pb.QueryTimeseriesRequest(metrics=["clicks"], slice=TEN_YEARS, granularity=pb.GRANULARITY_HOUR),
            "granularity",
            "day, week, month",
        ),
        (
            pb.QueryTimeseriesRequest(
                metrics=["clicks"],
                slice=TEN_YEARS,
                granularity=pb.GRANULARITY_DAY,
                dimension="source",
                series_limit=50,
                comparison=pb.COMPARISON_PREVIOUS_YEAR,
            ),
            "granularity",
            "ask for a shorter range or fewer series",
        ),
        (breakdown(), "dimensions", "device_type"),
        (breakdown("source", "shoe_size"), "dimensions[1]", "device_type"),
        (breakdown("source", "source"), "dimensions", "twice"),
        (breakdown("source", metrics=()), "metrics", "unique_users"),
        (breakdown("source", order_by="revenue"), "order_by", "clicks"),
        (breakdown("source", page_size=10_001), "page_size", "10000"),
        (breakdown("source", page_token="x"), "page_token", ""),
        (breakdown("source", slice=march(currency="gold")), "slice.currency", "ISO 4217"),
        (pb.GetCampaignReportRequest(), "campaign_id", "256"),
        (pb.GetCampaignReportRequest(campaign_id="x", metrics=["nonsense"]), "metrics[0]", "roas"),
    ],
)
async def test_what_is_wrong_is_named_with_what_is_right(asked: Asked, request_: Any, field: str, valid: str) -> None:
    name = type(request_).__name__.removesuffix("Request")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(asked.stub, name)(request_, metadata=asked.caller())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert valid in violations(caught.value)[field]
    assert not asked.reader.statements


async def test_what_was_asked_before_is_not_asked_again_and_of_nobody_else(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "ours"}, {"source": "theirs", "organization_id": OTHER}])
    request = breakdown("source")
    first = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    count = len(asked.reader.statements)
    second = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert (first.info.is_cached, second.info.is_cached, second.info.rows_read) == (False, True, 0)
    assert table(second) == table(first) == {"ours": [1]}
    assert len(asked.reader.statements) == count
    other = await asked.stub.QueryBreakdown(request, metadata=asked.caller(OTHER))
    assert table(other) == {"theirs": [1]}


async def test_a_hundred_equal_questions_at_once_are_asked_once(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "a"}])
    request = breakdown("source")
    calls = (asked.stub.QueryBreakdown(request, metadata=asked.caller()) for _ in range(100))
    responses = await asyncio.gather(*calls)
    assert {tuple(table(one)) for one in responses} == {("a",)}
    # The rows and the totals.
    assert len(asked.reader.statements) == 2


async def test_the_question_until_now_stays_the_same_for_its_minute(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"event_time": asked.clock.time}])
    request = breakdown("source", slice=pb.Slice())
    await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    asked.clock.time += timedelta(seconds=5)
    assert (await asked.stub.QueryBreakdown(request, metadata=asked.caller())).info.is_cached


async def test_newer_events_are_in_the_answer_once_the_watermark_went_on(client: "Client", asked: Asked) -> None:
    asked.watermark.time = NOON
    insert_events(client, [{"source": "a"}])
    request = breakdown("source")
    first = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
    assert first.info.watermark_time.ToDatetime(UTC) == NOON
    insert_events(client, [{"source": "a"}])
    asked.watermark.time = NOON + timedelta(seconds=2)
    assert table(await asked.stub.QueryBreakdown(request, metadata=asked.caller())) == {"a": [2]}


async def _is_made_anew(asked: Asked, request: pb.QueryBreakdownRequest) -> bool:
    return not (await asked.stub.QueryBreakdown(request, metadata=asked.caller())).info.is_cached


async def test_days_that_are_over_are_kept_until_something_about_them_changes(client: "Client", asked: Asked) -> None:
    asked.watermark.time = datetime(2026, 4, 2, tzinfo=UTC)
    asked.clock.time = datetime.now(UTC)
    insert_events(client, [{"source": "a"}])
    request = breakdown("source", slice=march())
    assert await _is_made_anew(asked, request)
    asked.watermark.time += timedelta(hours=5)
    assert not await _is_made_anew(asked, request)
    # Days outside, and other organisations.
    insert_events(client, [{"event_time": NOON + 60 * DAY}, {"organization_id": OTHER}])
    _intend(client, OTHER, NOON)
    _intend(client, ACME, NOON + 60 * DAY)
    _activate(client, OTHER)
    assert not await _is_made_anew(asked, request)
    insert_events(client, [{"source": "a"}])
    assert await _is_made_anew(asked, request)
    intent = _intend(client, ACME, NOON)
    assert await _is_made_anew(asked, request)
    _intend(client, ACME, NOON, intent=intent, is_done=True)
    assert await _is_made_anew(asked, request)
    _activate(client, ACME)
    assert await _is_made_anew(asked, request)
    _operate(client, "", 2)
    assert await _is_made_anew(asked, request)
    _operate(client, "", 3)
    assert await _is_made_anew(asked, request)
    assert not await _is_made_anew(asked, request)
    for table_ in ("intents", "mapping_activations", "operations"):
        client.command(f"TRUNCATE TABLE {table_}")


def _intend(
    client: "Client", organization_id: str, at: datetime, *, intent: uuid.UUID | None = None, is_done: bool = False
) -> uuid.UUID:
    intent = intent or uuid.uuid4()
    client.insert(
        "intents",
        [[intent, int(is_done), [organization_id], [at.date()]]],
        column_names=["intent_id", "is_done", "organization_ids", "days"],
    )
    return intent


def _activate(client: "Client", organization_id: str) -> None:
    client.insert(
        "mapping_activations",
        [[organization_id, "map_1", 1, 1, "key:1", NOON]],
        column_names=["organization_id", "mapping_id", "revision", "version", "actor", "activate_time"],
    )


def _operate(client: "Client", organization_id: str, revision: int) -> None:
    client.insert(
        "operations",
        [["op_1", revision, organization_id, "rebuild", "running", NOON]],
        column_names=["operation_id", "revision", "organization_id", "kind", "state", "create_time"],
    )


async def test_the_sources_of_an_answer_are_told(client: "Client", asked: Asked) -> None:
    insert_events(client, [{"source": "a"}])
    for request, wanted in (
        (breakdown("source"), {"day"}),
        (breakdown("hour"), {"minute", "day"}),
        (breakdown("host"), {"events", "day"}),
        (breakdown("source", metrics=("unique_ips",)), {"events"}),
    ):
        response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
        assert set(response.info.sources) == wanted
        assert response.info.elapsed_seconds > 0


@pytest.mark.parametrize("dimension", ["source", "param.zone"])
async def test_what_was_read_tells_nothing_of_others(client: "Client", asked: Asked, dimension: str) -> None:
    found = set()
    for count in (1, 100):
        insert_events(client, [{"organization_id": OTHER} for _ in range(count)])
        request = breakdown(dimension, slice=march(time_zone="UTC" if count == 1 else "Europe/Berlin"))
        response = await asked.stub.QueryBreakdown(request, metadata=asked.caller())
        assert not response.info.is_cached
        found.add(response.info.rows_read % 8192)
    assert found == {0}
