"""What a report says, and how it is read from the rows of a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

from analytics_svc.compile import Question
from analytics_svc.metric import Metric, Unit
from analytics_svc.statement import Rows

Number: TypeAlias = int | float | None
"""A count, a ratio, or an amount in millionths; None: there is no such number."""
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Basis:
    """What a result rests on."""

    watermark_time: datetime | None
    start_time: datetime
    end_time: datetime
    time_zone: str
    currency: str
    other_revenue: tuple[tuple[str, int], ...]
    """Currency and millionths, the code of what has none empty."""
    sources: tuple[str, ...]
    rows_read: int
    elapsed_seconds: float
    is_cached: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers over time."""

    value: str
    """The dimension's; empty without one."""
    points: tuple[tuple[Number, ...], ...]
    """By step, in the order of the metrics."""
    totals: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Timeseries:
    """Series and their steps."""

    steps: tuple[datetime, ...]
    series: tuple[Series, ...]
    earlier_steps: tuple[datetime, ...]
    """Of the comparison; empty without one."""
    earlier_series: tuple[Series, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """One combination of values."""

    values: tuple[str, ...]
    numbers: tuple[Number, ...]
    earlier_numbers: tuple[Number, ...] = ()
    """Empty without a comparison."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A page of a table."""

    rows: tuple[BreakdownRow, ...]
    has_more: bool
    totals: tuple[Number, ...]
    earlier_totals: tuple[Number, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """A campaign's page."""

    numbers: tuple[Number, ...]
    top_hours: tuple[int, ...]
    """Hours with most conversions, rising."""
    top_weekdays: tuple[str, ...]
    """Weekdays with most conversions, in the order of the week."""
    devices: tuple[tuple[str, int], ...]
    """Clicks by kind of device."""
    basis: Basis


def series_of(
    question: Question,
    steps: Sequence[datetime],
    values: Sequence[tuple[str, ...]],
    found: Sequence[Sequence[Any]],
) -> tuple[Series, ...]:
    """Return the series of these values from the rows of a question with steps, empty points where nothing happened."""
    width = len(question.dimensions)
    points: dict[tuple[tuple[str, ...], int], tuple[Number, ...]] = {}
    totals: dict[tuple[str, ...], tuple[Number, ...]] = {}
    for row in found:
        value, (second, level), numbers = tuple(row[:width]), row[width : width + 2], row[width + 2 :]
        if level == 0:
            points[value, second] = numbers_of(question.metrics, numbers)
        elif level == 1:
            totals[value] = numbers_of(question.metrics, numbers)
    nothing = tuple(metric.of_nothing for metric in question.metrics)
    seconds = [int(step.timestamp()) for step in steps]
    return tuple(
        Series(
            value[0] if value else "",
            tuple(points.get((value, second), nothing) for second in seconds),
            totals.get(value, nothing),
        )
        for value in values
    )


def table_of(question: Question, found: Rows) -> dict[tuple[str, ...], tuple[Number, ...]]:
    """Return the numbers by values, in the order of the rows."""
    width = len(question.dimensions)
    return {tuple(row[:width]): numbers_of(question.metrics, row[width:]) for row in found.rows}


def numbers_of(metrics: Sequence[Metric], row: Sequence[object]) -> tuple[Number, ...]:
    """Return the metrics of one row."""
    return tuple(_number(metric.unit, value) for metric, value in zip(metrics, row, strict=True))


def _number(unit: Unit, value: object) -> Number:
    if value is None:
        return None
    if unit is Unit.MONEY:
        return round(Decimal(str(value)) * _MICROS)
    return int(str(value)) if unit is Unit.COUNT else float(str(value))
