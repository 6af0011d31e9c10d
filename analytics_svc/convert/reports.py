"""Reports, between the contract and ours."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from analytics_svc.convert.slices import instant_from_pb, slice_from_pb
from analytics_svc.dimension import DIMENSIONS, Dimension, dimension_of
from analytics_svc.metric import METRICS, Metric, Unit, metrics_of
from analytics_svc.query import (
    CAMPAIGN_METRICS,
    DEFAULT_PAGE_ROWS,
    DEFAULT_SERIES,
    MOST_DIMENSIONS,
    MOST_PAGE_ROWS,
    MOST_SERIES,
    BreakdownSpec,
    CampaignSpec,
    TimeseriesSpec,
    timeseries_violations,
)
from analytics_svc.report import Basis, Breakdown, CampaignReport, Number, Series, Timeseries
from analytics_svc.slice import DimensionFilter, Slice
from analytics_svc.steps import Comparison, Granularity, default_granularity
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.paging import PageTokens
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import report_pb2 as pb
from trellis.type.v1 import money_pb2, time_range_pb2

_LARGEST_INT64 = 2**63 - 1
_LONGEST_ID_BYTES = 256
GRANULARITIES: Mapping[int, Granularity] = {
    pb.GRANULARITY_MINUTE: Granularity.MINUTE,
    pb.GRANULARITY_HOUR: Granularity.HOUR,
    pb.GRANULARITY_DAY: Granularity.DAY,
    pb.GRANULARITY_WEEK: Granularity.WEEK,
    pb.GRANULARITY_MONTH: Granularity.MONTH,
}
_COMPARISONS: Mapping[int, Comparison] = {
    pb.COMPARISON_PREVIOUS_PERIOD: Comparison.PREVIOUS_PERIOD,
    pb.COMPARISON_PREVIOUS_YEAR: Comparison.PREVIOUS_YEAR,
}
_Choice = TypeVar("_Choice")


def timeseries_from_pb(request: pb.QueryTimeseriesRequest, *, organization_id: str, now: datetime) -> TimeseriesSpec:
    """Read the question for a time series. Raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    part = _slice(request.slice, organization_id, now, violations)
    dimension = None
    if request.dimension:
        dimension = dimension_of(request.dimension, path="dimension", violations=violations)
    granularity = _choice(request.granularity, GRANULARITIES, "granularity", violations)
    if request.series_limit > MOST_SERIES:
        violations.append(Violation("series_limit", f"is {request.series_limit}; the limit is {MOST_SERIES}"))
    spec = TimeseriesSpec(
        part,
        granularity or default_granularity(part.start_time, part.end_time),
        metrics_of(request.metrics, path="metrics", violations=violations),
        dimension,
        request.series_limit or DEFAULT_SERIES,
        _choice(request.comparison, _COMPARISONS, "comparison", violations),
    )
    if not violations:
        violations += timeseries_violations(spec, path="granularity")
    _refuse(violations)
    return spec


def breakdown_from_pb(
    request: pb.QueryBreakdownRequest, *, organization_id: str, now: datetime, tokens: PageTokens
) -> BreakdownSpec:
    """Read the question for a breakdown, at the place and the time of its page token."""
    violations: list[Violation] = []
    metrics = metrics_of(request.metrics, path="metrics", violations=violations)
    dimensions = _dimensions(request.dimensions, violations)
    order_by = _order(request, metrics, violations)
    if request.page_size > MOST_PAGE_ROWS:
        violations.append(Violation("page_size", f"is {request.page_size}; the limit is {MOST_PAGE_ROWS}"))
    comparison = _choice(request.comparison, _COMPARISONS, "comparison", violations)
    part = _slice(request.slice, organization_id, now, violations)
    _refuse(violations)
    # A page that began with "until now" goes on with the same now.
    position = tokens.open(request.page_token, *_scope(request, organization_id))
    offset = 0
    if position is not None:
        offset, start_ms, end_ms = position
        start, end = (datetime.fromtimestamp(at / 1000, UTC) for at in (start_ms, end_ms))
        part = replace(part, start_time=start, end_time=end)
    page_size = request.page_size or DEFAULT_PAGE_ROWS
    return BreakdownSpec(part, dimensions, metrics, order_by, request.is_ascending, page_size, offset, comparison)


def campaign_from_pb(request: pb.GetCampaignReportRequest, *, organization_id: str, now: datetime) -> CampaignSpec:
    """Read the question for a campaign's page."""
    violations: list[Violation] = []
    campaign_id = request.campaign_id
    if not 0 < len(campaign_id.encode()) <= _LONGEST_ID_BYTES:
        size = len(campaign_id.encode())
        violations.append(Violation("campaign_id", f"has {size} bytes; it must have 1 to {_LONGEST_ID_BYTES}"))
    part = _slice(request.slice, organization_id, now, violations)
    metrics = metrics_of(request.metrics, path="metrics", violations=violations, default=CAMPAIGN_METRICS)
    _refuse(violations)
    its_own = DimensionFilter(DIMENSIONS["campaign_id"], (campaign_id,))
    time_range = request.slice.time_range
    return CampaignSpec(
        campaign_id,
        replace(part, dimension_filters=(*part.dimension_filters, its_own)),
        metrics,
        is_whole=not time_range.HasField("start_time") and not time_range.HasField("end_time"),
    )


def timeseries_to_pb(report: Timeseries, spec: TimeseriesSpec) -> pb.QueryTimeseriesResponse:
    """Write a time series."""
    return pb.QueryTimeseriesResponse(
        series=[_series_to_pb(one, report.steps, spec.metrics) for one in report.series],
        comparison_series=[_series_to_pb(one, report.earlier_steps, spec.metrics) for one in report.earlier_series],
        info=info_to_pb(report.basis),
        granularity=pb.Granularity.Value(f"GRANULARITY_{spec.granularity.upper()}"),
    )


def breakdown_to_pb(
    report: Breakdown, spec: BreakdownSpec, request: pb.QueryBreakdownRequest, tokens: PageTokens
) -> pb.QueryBreakdownResponse:
    """Write a page of a breakdown."""
    token = ""
    if report.has_more:
        position = (
            spec.offset + spec.page_size,
            _milliseconds(spec.part.start_time),
            _milliseconds(spec.part.end_time),
        )
        token = tokens.seal(position, *_scope(request, spec.part.organization_id))
    return pb.QueryBreakdownResponse(
        rows=[
            pb.BreakdownRow(
                dimension_values=row.values,
                values=_values_to_pb(spec.metrics, row.numbers),
                comparison_values=_values_to_pb(spec.metrics, row.earlier_numbers),
            )
            for row in report.rows
        ],
        totals=_values_to_pb(spec.metrics, report.totals),
        comparison_totals=_values_to_pb(spec.metrics, report.earlier_totals),
        next_page_token=token,
        info=info_to_pb(report.basis),
    )


def campaign_to_pb(report: CampaignReport, spec: CampaignSpec) -> pb.GetCampaignReportResponse:
    """Write a campaign's page."""
    return pb.GetCampaignReportResponse(
        campaign_id=spec.campaign_id,
        metrics=[metric.name for metric in spec.metrics],
        values=_values_to_pb(spec.metrics, report.numbers),
        top_converting_hours=report.top_hours,
        top_converting_days=report.top_weekdays,
        device_breakdown=dict(report.devices),
        info=info_to_pb(report.basis),
    )


def catalogue_to_pb() -> pb.DescribeReportsResponse:
    """Write what reports can be made of."""
    return pb.DescribeReportsResponse(
        metrics=[
            pb.Metric(name=metric.name, description=metric.description, unit=metric.unit) for metric in METRICS.values()
        ],
        dimensions=[
            pb.Dimension(name=dimension.name, description=dimension.description) for dimension in DIMENSIONS.values()
        ],
    )


def info_to_pb(basis: Basis) -> pb.ResultInfo:
    """Write what a result rests on."""
    return pb.ResultInfo(
        watermark_time=timestamp_of(basis.watermark_time),
        time_range=time_range_pb2.TimeRange(
            start_time=timestamp_of(basis.start_time), end_time=timestamp_of(basis.end_time)
        ),
        time_zone=basis.time_zone,
        currency=basis.currency,
        other_revenue=[
            money_pb2.Money(amount_micros=_within_int64(micros), currency=code) for code, micros in basis.other_revenue
        ],
        sources=basis.sources,
        rows_read=basis.rows_read,
        elapsed_seconds=basis.elapsed_seconds,
        is_cached=basis.is_cached,
    )


def _slice(message: pb.Slice, organization_id: str, now: datetime, violations: list[Violation]) -> Slice:
    """Read a slice. "Until now" is until the end of this minute: so long, the question stays the same."""
    then = _as_of(message, now, violations)
    part = slice_from_pb(
        message, organization_id=organization_id, now=then or now, violations=violations, knows_as_of=True
    )
    time_range = message.time_range
    if then is not None:
        if part.start_time >= then:
            violations.append(Violation("slice.as_of_time", "is not after the start of the time range"))
        return replace(part, end_time=min(part.end_time, then), as_of=then)
    if time_range.HasField("end_time"):
        return part
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if time_range.HasField("start_time"):
        return replace(part, start_time=instant_from_pb(time_range.start_time), end_time=end)
    return replace(part, start_time=end - (part.end_time - part.start_time), end_time=end)


def _as_of(message: pb.Slice, now: datetime, violations: list[Violation]) -> datetime | None:
    """Read as of when the question is."""
    if not message.HasField("as_of_time"):
        return None
    then = instant_from_pb(message.as_of_time)
    if then > now:
        violations.append(Violation("slice.as_of_time", f"is {then:%FT%TZ}, which is still to come"))
        return now
    return then


def _dimensions(names: Sequence[str], violations: list[Violation]) -> tuple[Dimension, ...]:
    if not 1 <= len(names) <= MOST_DIMENSIONS:
        valid = ", ".join(sorted(DIMENSIONS))
        violations.append(
            Violation(
                "dimensions",
                f"has {len(names)} dimensions, 1 to {MOST_DIMENSIONS} are needed of {valid}, param.<name> and "
                "header.<name>",
            )
        )
        return ()
    if len(set(names)) < len(names):
        violations.append(Violation("dimensions", "names a dimension twice"))
    found = [dimension_of(name, path=f"dimensions[{at}]", violations=violations) for at, name in enumerate(names)]
    return tuple(dimension for dimension in found if dimension is not None)


def _order(request: pb.QueryBreakdownRequest, metrics: Sequence[Metric], violations: list[Violation]) -> int:
    names = [metric.name for metric in metrics]
    if not request.order_by:
        return 0
    if request.order_by in names:
        return names.index(request.order_by)
    violations.append(
        Violation("order_by", f"{request.order_by[:60]!r} is none of the metrics asked for: {', '.join(names)}")
    )
    return 0


def _choice(number: int, known: Mapping[int, _Choice], path: str, violations: list[Violation]) -> _Choice | None:
    if number and number not in known:
        valid = ", ".join(f"{choice} ({one})" for one, choice in known.items())
        violations.append(Violation(path, f"{number} is no {path}; there are {valid}"))
    return known.get(number)


def _refuse(violations: Sequence[Violation]) -> None:
    if violations:
        raise InvalidArgumentError.of(violations)


def _scope(request: pb.QueryBreakdownRequest, organization_id: str) -> tuple[object, ...]:
    """Return what tells this table from every other one: the question without the place in it."""
    question = pb.QueryBreakdownRequest()
    question.CopyFrom(request)
    question.ClearField("page_token")
    question.ClearField("page_size")
    return "breakdown", organization_id, question.SerializeToString(deterministic=True)


def _series_to_pb(series: Series, steps: Sequence[datetime], metrics: Sequence[Metric]) -> pb.Series:
    return pb.Series(
        value=series.value,
        points=[
            pb.Point(start_time=timestamp_of(step), values=_values_to_pb(metrics, numbers))
            for step, numbers in zip(steps, series.points, strict=True)
        ],
        totals=_values_to_pb(metrics, series.totals),
    )


def _values_to_pb(metrics: Sequence[Metric], numbers: Sequence[Number]) -> list[pb.Value]:
    return [value_to_pb(metric, number) for metric, number in zip(metrics, numbers, strict=False)]


def value_to_pb(metric: Metric, number: Number) -> pb.Value:
    """Write a number; nothing where there is none."""
    if number is None:
        return pb.Value()
    if metric.unit is Unit.COUNT:
        return pb.Value(count=int(number))
    if metric.unit is Unit.MONEY:
        return pb.Value(amount_micros=_within_int64(int(number)))
    return pb.Value(number=float(number))


def _within_int64(number: int) -> int:
    return max(-_LARGEST_INT64, min(number, _LARGEST_INT64))


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
