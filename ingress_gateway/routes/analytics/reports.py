"""Reports: metrics over time and by dimension, campaigns, and the catalogue of both."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ingress_gateway.instants import timestamp_text
from ingress_gateway.routes.analytics.asking import Report
from ingress_gateway.routes.analytics.numbers import Json, info_of, period_of, values_of
from ingress_gateway.routes.analytics.question import Question
from ingress_gateway.routes.analytics.slices import GRANULARITIES, comparison_of, slice_of
from trellis.analytics.v1 import report_pb2 as pb

if TYPE_CHECKING:
    from trellis.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceAsyncStub

CampaignsRequest: TypeAlias = pb.QueryBreakdownRequest | pb.GetCampaignReportRequest
METRICS = ("clicks", "unique_users", "conversions", "conversion_rate", "revenue")
"""What a table shows unless asked."""
LINES = ("clicks", "conversions", "revenue")
"""What a chart shows unless asked."""
GEO_LEVELS = {"country": ["country"], "region": ["country", "region"], "city": ["country", "region", "city"]}
DEVICE_LEVELS = {"device_type": ["device_type"], "os": ["os"], "browser": ["browser"]}
ORDERS = {"desc": False, "asc": True}
_SOURCES = ("source", "medium", "channel")
_STEP_WORDS = {number: word for word, number in GRANULARITIES.items()}
_MOST_ROWS = 10_000
_MOST_SERIES = 100


def _timeseries_request(asked: Question) -> pb.QueryTimeseriesRequest:
    return pb.QueryTimeseriesRequest(
        slice=slice_of(asked, knows_as_of=True),
        granularity=asked.choice("granularity", GRANULARITIES) or pb.GRANULARITY_UNSPECIFIED,
        metrics=asked.words("metrics", LINES),
        dimension=asked.text("dimension") or "",
        series_limit=asked.number("limit", 1, _MOST_SERIES) or 0,
        comparison=comparison_of(asked),
    )


def _timeseries(request: pb.QueryTimeseriesRequest, answer: pb.QueryTimeseriesResponse) -> Json:
    return {
        "granularity": _STEP_WORDS.get(answer.granularity, "unknown"),
        "metrics": list(request.metrics),
        "dimension": request.dimension,
        "series": [_series(request.metrics, series) for series in answer.series],
        "comparison_series": [_series(request.metrics, series) for series in answer.comparison_series],
        "info": info_of(answer.info),
    }


def _series(metrics: Sequence[str], series: pb.Series) -> Json:
    return {
        "value": series.value,
        "totals": values_of(metrics, series.totals),
        "points": [
            {"time": timestamp_text(point.start_time), "metrics": values_of(metrics, point.values)}
            for point in series.points
        ],
    }


def breakdown_request(
    asked: Question, dimensions: Sequence[str], *, taken: Sequence[str] = ()
) -> pb.QueryBreakdownRequest:
    """Read everything about a table but its dimensions."""
    return pb.QueryBreakdownRequest(
        slice=slice_of(asked, taken=taken, knows_as_of=True),
        dimensions=dimensions,
        metrics=asked.words("metrics", METRICS),
        order_by=asked.text("order_by") or "",
        is_ascending=asked.choice("order", ORDERS) or False,
        page_size=asked.number("limit", 1, _MOST_ROWS) or 0,
        page_token=asked.page_token(),
        comparison=comparison_of(asked),
    )


def breakdown_view(request: pb.QueryBreakdownRequest, answer: pb.QueryBreakdownResponse) -> Json:
    """Write a table."""
    is_compared = request.comparison != pb.COMPARISON_UNSPECIFIED
    return {
        "dimensions": list(request.dimensions),
        "metrics": list(request.metrics),
        "rows": [_row(request, row, is_compared=is_compared) for row in answer.rows],
        "totals": values_of(request.metrics, answer.totals),
        "comparison_totals": values_of(request.metrics, answer.comparison_totals) if is_compared else None,
        "next_page_token": answer.next_page_token,
        "info": info_of(answer.info),
    }


def _row(request: pb.QueryBreakdownRequest, row: pb.BreakdownRow, *, is_compared: bool) -> Json:
    return {
        "dimensions": dict(zip(request.dimensions, row.dimension_values, strict=True)),
        "metrics": values_of(request.metrics, row.values),
        "comparison": values_of(request.metrics, row.comparison_values) if is_compared else None,
    }


def _breakdown_request(asked: Question) -> pb.QueryBreakdownRequest:
    dimensions = asked.words("dimensions")
    if not dimensions and not asked.has("dimensions"):
        asked.refuse("dimensions", "is required: 1 to 5 names of /api/v1/analytics/catalog")
    return breakdown_request(asked, dimensions)


def _sources_request(asked: Question) -> pb.QueryBreakdownRequest:
    return breakdown_request(asked, _SOURCES)


def _geo_request(asked: Question) -> pb.QueryBreakdownRequest:
    return breakdown_request(asked, asked.choice("level", GEO_LEVELS) or GEO_LEVELS["country"])


def _devices_request(asked: Question) -> pb.QueryBreakdownRequest:
    return breakdown_request(asked, asked.choice("level", DEVICE_LEVELS) or DEVICE_LEVELS["device_type"])


def _campaigns_request(asked: Question) -> CampaignsRequest:
    """Read the question about one campaign, where one is named, or the table of all."""
    if not asked.is_query:
        campaign_id = asked.text("campaign_id")
    else:
        named = asked.many("campaign_id")
        campaign_id = named[0] if len(named) == 1 else None
    if campaign_id is None:
        return breakdown_request(asked, ["campaign_id"])
    return pb.GetCampaignReportRequest(
        campaign_id=campaign_id,
        slice=slice_of(asked, taken=["campaign_id"], knows_as_of=True),
        metrics=asked.words("metrics"),
    )


def _campaigns_method(stub: "AnalyticsServiceAsyncStub", request: CampaignsRequest) -> Any:
    return stub.QueryBreakdown if isinstance(request, pb.QueryBreakdownRequest) else stub.GetCampaignReport


def _campaigns(request: CampaignsRequest, answer: Any) -> Json:
    return breakdown_view(request, answer) if isinstance(request, pb.QueryBreakdownRequest) else _campaign(answer)


def _campaign(answer: pb.GetCampaignReportResponse) -> Json:
    return {
        "campaign_id": answer.campaign_id,
        "period": period_of(answer.info),
        "metrics": {
            **values_of(answer.metrics, answer.values),
            "top_converting_hours": list(answer.top_converting_hours),
            "top_converting_days": list(answer.top_converting_days),
            "device_breakdown": dict(sorted(answer.device_breakdown.items(), key=lambda item: (-item[1], item[0]))),
        },
        "info": info_of(answer.info),
    }


def _catalog(_request: pb.DescribeReportsRequest, answer: pb.DescribeReportsResponse) -> Json:
    return {
        "metrics": [{"name": m.name, "description": m.description, "unit": m.unit} for m in answer.metrics],
        "dimensions": [{"name": d.name, "description": d.description} for d in answer.dimensions],
    }


def _breakdown_report(build: Any, dimensions: str) -> Report[pb.QueryBreakdownRequest, pb.QueryBreakdownResponse]:
    """Return a route that answers a table; ``dimensions`` is what the client chooses its dimensions by."""
    return Report(build, lambda stub, _request: stub.QueryBreakdown, breakdown_view, {"dimensions": dimensions})


timeseries = Report(
    _timeseries_request, lambda stub, _request: stub.QueryTimeseries, _timeseries, {"series_limit": "limit"}
)
breakdown = _breakdown_report(_breakdown_request, "dimensions")
sources = _breakdown_report(_sources_request, "sources")
geo = _breakdown_report(_geo_request, "level")
devices = _breakdown_report(_devices_request, "level")
catalog = Report(lambda _asked: pb.DescribeReportsRequest(), lambda stub, _request: stub.DescribeReports, _catalog)
campaigns: Report[CampaignsRequest, Any] = Report(_campaigns_request, _campaigns_method, _campaigns)
