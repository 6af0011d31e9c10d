"""Answers about behaviour, from ours to the contract."""

from collections.abc import Sequence
from decimal import Decimal

from analytics_svc.behavior.funnel import Funnel, FunnelSpec
from analytics_svc.behavior.journey import Amount, Journey, Touch
from analytics_svc.behavior.path import Path
from analytics_svc.behavior.questions import Basis
from analytics_svc.behavior.retention import Cohort, Number, RetentionCell, RetentionMetric, RetentionSpec
from svc_runtime.errors import QueryLimitError
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import behavior_pb2 as pb
from trellis.analytics.v1 import report_pb2
from trellis.type.v1 import money_pb2, time_range_pb2

_MICROS = 1_000_000
_LARGEST = (1 << 63) - 1


def funnels_to_pb(spec: FunnelSpec, funnels: Sequence[Funnel], basis: Basis) -> pb.QueryFunnelResponse:
    """Write the counts of a funnel."""
    names = [step.name for step in spec.steps]
    return pb.QueryFunnelResponse(
        funnels=[pb.Funnel(value=each.value, steps=_step_results(names, each.counts)) for each in funnels],
        info=info_to_pb(basis),
    )


def retention_to_pb(
    spec: RetentionSpec, cohorts: Sequence[Cohort], overall: Cohort, basis: Basis
) -> pb.QueryRetentionResponse:
    """Write a retention matrix."""
    return pb.QueryRetentionResponse(
        cohorts=[_cohort_to_pb(each, spec.metric) for each in cohorts],
        overall=_cohort_to_pb(overall, spec.metric),
        info=info_to_pb(basis),
    )


def journeys_to_pb(journeys: Sequence[Journey], next_page_token: str, basis: Basis) -> pb.ListJourneysResponse:
    """Write a page of journeys."""
    return pb.ListJourneysResponse(
        journeys=map(_journey_to_pb, journeys), next_page_token=next_page_token, info=info_to_pb(basis)
    )


def paths_to_pb(paths: Sequence[Path], path_count: int, basis: Basis) -> pb.QueryPathsResponse:
    """Write paths."""
    return pb.QueryPathsResponse(
        paths=[
            pb.Path(
                values=each.values,
                conversion_count=each.conversion_count,
                unconverted_count=each.unconverted_count,
                revenue_micros=micros(each.revenue),
            )
            for each in paths
        ],
        info=info_to_pb(basis),
        path_count=path_count,
    )


def info_to_pb(basis: Basis) -> report_pb2.ResultInfo:
    """Write what an answer rests on."""
    return report_pb2.ResultInfo(
        watermark_time=timestamp_of(basis.watermark_time),
        time_range=time_range_pb2.TimeRange(
            start_time=timestamp_of(basis.start_time), end_time=timestamp_of(basis.end_time)
        ),
        time_zone=basis.time_zone,
        currency=basis.currency,
        other_revenue=[
            money_pb2.Money(amount_micros=micros(amount), currency=code) for code, amount in basis.other_revenue
        ],
        sources=["events"],
        rows_read=basis.rows_read,
        elapsed_seconds=basis.elapsed_seconds,
        is_cached=basis.is_cached,
    )


def micros(amount: Decimal) -> int:
    """Return an amount in millionths. Raise QueryLimitError where the contract has no room for it."""
    whole = int(amount * _MICROS)
    if abs(whole) > _LARGEST:
        raise QueryLimitError(f"a sum of {amount:.3e} is more than an amount can be: leave out the values that make it")
    return whole


def _step_results(names: Sequence[str], counts: Sequence[int]) -> list[pb.FunnelStepResult]:
    results = []
    for at, (name, count) in enumerate(zip(names, counts, strict=True)):
        result = pb.FunnelStepResult(name=name, count=count)
        if counts[0]:
            result.percent_of_first = 100 * count / counts[0]
        if at and counts[at - 1]:
            result.percent_of_previous = 100 * count / counts[at - 1]
        results.append(result)
    return results


def _cohort_to_pb(cohort: Cohort, metric: RetentionMetric) -> pb.Cohort:
    return pb.Cohort(
        start_time=timestamp_of(cohort.start_time),
        size=cohort.size,
        cells=[_cell_to_pb(cell, metric) for cell in cohort.cells],
    )


def _cell_to_pb(cell: RetentionCell, metric: RetentionMetric) -> pb.RetentionCell:
    return pb.RetentionCell(value=_value_to_pb(cell.value, metric), percent=cell.percent, is_complete=cell.is_complete)


def _value_to_pb(value: Number, metric: RetentionMetric) -> report_pb2.Value:
    if metric is RetentionMetric.REVENUE:
        return report_pb2.Value(amount_micros=micros(Decimal(value)))
    return report_pb2.Value(count=int(value))


def _journey_to_pb(journey: Journey) -> pb.Journey:
    visitor = journey.visitor
    return pb.Journey(
        user_id=visitor.user_id,
        touches=map(touch_to_pb, journey.touches),
        event_count=visitor.event_count,
        session_count=visitor.session_count,
        conversion_count=visitor.conversion_count,
        revenue=[_money_to_pb(amount) for amount in visitor.revenue],
        person_id=journey.person_id,
        user_ids=journey.user_ids,
    )


def touch_to_pb(touch: Touch) -> pb.Touch:
    """Return one event of a journey."""
    return pb.Touch(
        event_id=touch.event_id,
        event_time=timestamp_of(touch.event_time),
        event_type=touch.event_type,
        source=touch.source,
        medium=touch.medium,
        channel=touch.channel,
        campaign_id=touch.campaign_id,
        session_id=touch.session_id,
        click_id=touch.click_id,
        value=_money_to_pb(touch.value) if touch.value else None,
        is_conversion=touch.is_conversion,
        user_id=touch.user_id,
    )


def _money_to_pb(amount: Amount) -> money_pb2.Money:
    return money_pb2.Money(amount_micros=micros(amount.value), currency=amount.currency)
