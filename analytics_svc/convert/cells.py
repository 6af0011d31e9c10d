"""Cells of reports, between the contract and ours."""

from datetime import datetime

from analytics_svc.cell import Cell, CellEvent, CellSpec, step_of
from analytics_svc.convert.reports import GRANULARITIES, info_to_pb, value_to_pb
from analytics_svc.convert.slices import instant_from_pb, slice_from_pb
from analytics_svc.dimension import dimension_of
from analytics_svc.metric import METRICS, measures_of
from analytics_svc.query import MOST_DIMENSIONS
from analytics_svc.slice import DimensionFilter
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import explain_service_pb2 as pb
from trellis.analytics.v1 import report_pb2

_MICROS = 1_000_000


def cell_from_pb(request: pb.ExplainCellRequest, *, organization_id: str, now: datetime) -> CellSpec:
    """Read which cell. Raise InvalidArgumentError that names everything that is wrong."""
    violations: list[Violation] = []
    part = slice_from_pb(request.slice, organization_id=organization_id, now=now, violations=violations)
    metric = METRICS.get(request.metric)
    if metric is None:
        violations.append(Violation("metric", f"{request.metric[:60]!r} is no metric; there are {', '.join(METRICS)}"))
    row = _row_from_pb(request, violations)
    granularity = GRANULARITIES.get(request.granularity)
    if (granularity is None) == request.HasField("step_time"):
        violations.append(Violation("step_time", "and granularity go together: the step of a time series"))
    elif granularity is not None and not violations:
        step = step_of(part, granularity, instant_from_pb(request.step_time))
        if step is None:
            violations.append(Violation("step_time", "is in no step of the slice"))
        part = step or part
    if violations or metric is None:
        raise InvalidArgumentError.of(violations)
    return CellSpec(part, metric, row)


def _row_from_pb(request: pb.ExplainCellRequest, violations: list[Violation]) -> tuple[DimensionFilter, ...]:
    if len(request.values) > MOST_DIMENSIONS:
        violations.append(Violation("values", f"has {len(request.values)} dimensions; the limit is {MOST_DIMENSIONS}"))
        return ()
    row = []
    for at, value in enumerate(request.values):
        dimension = dimension_of(value.dimension, path=f"values[{at}].dimension", violations=violations)
        if dimension is not None:
            row.append(DimensionFilter(dimension, (value.value,)))
    return tuple(row)


def cell_to_pb(cell: Cell, spec: CellSpec) -> pb.ExplainCellResponse:
    """Write what a number rests on."""
    metric = spec.metric
    organization_id = spec.part.organization_id
    return pb.ExplainCellResponse(
        metric=report_pb2.Metric(name=metric.name, description=metric.description, unit=metric.unit),
        expression=metric.expression,
        measures=[
            pb.CellMeasure(
                name=measure.name,
                function=measure.function,
                of_events=measure.of_events,
                where_event=measure.where_event.replace("{currency:String}", f"'{cell.basis.currency}'"),
            )
            for measure in measures_of([metric])
        ],
        value=value_to_pb(metric, cell.value),
        value_of_events=value_to_pb(metric, cell.value_of_events),
        event_count=cell.event_count,
        samples=[_event_to_pb(event) for event in cell.samples],
        pending=[
            pb.CellPending(
                # The operator's ids are not for an organisation.
                operation_id=operation.operation_id if operation.organization_id == organization_id else "",
                kind=operation.kind,
                state=operation.state,
            )
            for operation in cell.pending
        ],
        info=info_to_pb(cell.basis),
    )


def _event_to_pb(event: CellEvent) -> pb.CellEvent:
    return pb.CellEvent(
        event_id=event.event_id,
        event_time=timestamp_of(event.event_time),
        event_type=event.event_type,
        source=event.source,
        campaign_id=event.campaign_id,
        value_micros=None if event.value is None else int(event.value * _MICROS),
        currency=event.currency,
        is_conversion=event.is_conversion,
    )
