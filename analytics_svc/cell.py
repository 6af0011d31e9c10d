"""A cell of a report: its place, and what is behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from analytics_svc.behavior.columns import EVENT_ORDER, MILLISECOND
from analytics_svc.compile import Compiled, Question, compile_question
from analytics_svc.metric import Measure, Metric, measures_of
from analytics_svc.operation import Operation
from analytics_svc.plan import Part, Plan, Source
from analytics_svc.report import Basis, Number
from analytics_svc.slice import DimensionFilter, Slice
from analytics_svc.statement import Rows, Statement, condition_of
from analytics_svc.steps import Granularity, steps_of

MOST_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class CellSpec:
    """Which cell."""

    part: Slice
    """Of the report, or of the step of a time series."""
    metric: Metric
    row: tuple[DimensionFilter, ...] = ()
    """One value for each of the report's dimensions."""

    @property
    def inside(self) -> Slice:
        """The events of the cell."""
        part = replace(self.part, dimension_filters=(*self.part.dimension_filters, *self.row))
        # Bots are counted by some measures whether the slice has them or not.
        counts_bots = any(measure.is_of_bots for measure in measures_of([self.metric]))
        return replace(part, includes_bots=part.includes_bots or counts_bots)


@dataclass(frozen=True, slots=True)
class CellEvent:
    """One of the events."""

    event_id: str
    event_time: datetime
    event_type: str
    source: str
    campaign_id: str
    value: Decimal | None
    currency: str
    is_conversion: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """What a number rests on."""

    value: Number
    value_of_events: Number
    event_count: int
    samples: Sequence[CellEvent]
    pending: Sequence[Operation]
    """Not over, and about the organisation or about all."""
    basis: Basis


def step_of(part: Slice, granularity: Granularity, instant: datetime) -> Slice | None:
    """Return the part of a slice that is the step with the instant in it; None where there is none."""
    steps = steps_of(part.start_time, part.end_time, part.zone, granularity)
    for start, end in zip(steps, [*steps[1:], part.end_time], strict=True):
        if start <= instant < end:
            return replace(part, start_time=max(start, part.start_time), end_time=end)
    return None


def compile_of_events(spec: CellSpec, currency: str) -> Compiled:
    """Compile the question for the cell's number, of the events themselves."""
    part = replace(spec.inside, includes_bots=spec.part.includes_bots)
    range_ = (int(part.start_time.timestamp() * 1000), int(part.end_time.timestamp() * 1000))
    plan = Plan((Part(Source.EVENTS, measures_of([spec.metric]), (range_,)),))
    return compile_question(Question(part, (spec.metric,), currency), plan=plan)


def compile_count(spec: CellSpec, currency: str) -> Statement:
    """Compile to one row: how many events are behind it."""
    return _behind(spec, currency, "count()", "")


def compile_samples(spec: CellSpec, currency: str) -> Statement:
    """Compile to rows of the last events behind it."""
    columns = (
        f"toString(event_id), {MILLISECOND}, event_type, source, campaign_id, value, events.currency, is_conversion"
    )
    return _behind(spec, currency, columns, f"ORDER BY event_time DESC, {EVENT_ORDER} DESC LIMIT {MOST_SAMPLES}")


def _behind(spec: CellSpec, currency: str, columns: str, order: str) -> Statement:
    part = condition_of(spec.inside)
    counted = [_condition(measure) for measure in measures_of([spec.metric])]
    parameters = dict(part.parameters)
    if any("{currency:String}" in one for one in counted):
        parameters["currency"] = currency
    sql = f"""
SELECT {columns} FROM events PREWHERE {part.prewhere}
WHERE {part.where} AND ({" OR ".join(counted)})
{order}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters)


def _condition(measure: Measure) -> str:
    return f"({measure.where_event or '1'})"


def samples_of(rows: Rows) -> list[CellEvent]:
    """Read the rows."""
    return [
        CellEvent(
            event_id, datetime.fromtimestamp(at / 1000, UTC), kind, source, campaign, value, code, bool(converted)
        )
        for event_id, at, kind, source, campaign, value, code, converted in rows.rows
    ]
