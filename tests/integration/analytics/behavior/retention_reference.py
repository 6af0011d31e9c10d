"""Retention in plain Python, by its definition: what ClickHouse must agree with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Act:
    """One event."""

    user: str
    time: datetime
    kind: str
    value: Decimal | None = None
    """Of a conversion."""


@dataclass(frozen=True)
class Row:
    """A cohort: its first day, its members, and its cells with whether each is over."""

    first_day: date
    size: int
    cells: tuple[tuple[Decimal, bool], ...]


def first_day_of(time: datetime, period: str, zone: ZoneInfo) -> date:
    """Return the first day of the period that an instant is in."""
    day = time.astimezone(zone).date()
    return {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[period]


def after(day: date, count: int, period: str) -> date:
    """Return the first day of a later period."""
    for _ in range(count):
        if period == "month":
            day = (day + timedelta(days=32)).replace(day=1)
        else:
            day += timedelta(days=7 if period == "week" else 1)
    return day


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return a day's first instant."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def matrix(
    acts: Sequence[Act],
    *,
    period: str,
    zone: ZoneInfo,
    brackets: Sequence[tuple[int, int]],
    is_unbounded: bool,
    metric: str,
    start_kind: str,
    return_kind: str,
    end: datetime,
) -> list[Row]:
    """Return the cohorts. ``brackets``: the first and last period of each cell; ``end``: now, and all that is known."""
    first: dict[str, datetime] = {}
    for act in acts:
        if act.kind == start_kind and act.time < first.get(act.user, datetime.max.replace(tzinfo=UTC)):
            first[act.user] = act.time
    cohorts: dict[date, list[str]] = {}
    for user, time in first.items():
        cohorts.setdefault(first_day_of(time, period, zone), []).append(user)
    rows = []
    for day in sorted(cohorts):
        cells = []
        for number, (low, high) in enumerate(brackets):
            if number and midnight(after(day, low, period), zone) >= end:
                break
            counted = Decimal(0)
            for user in cohorts[day]:
                mine = [
                    act
                    for act in acts
                    if act.user == user
                    and act.kind == return_kind
                    and act.time >= first[user]
                    and first_day_of(act.time, period, zone) >= after(day, low, period)
                    and (is_unbounded or first_day_of(act.time, period, zone) <= after(day, high, period))
                ]
                if metric == "":
                    counted += 1 if mine or number == 0 else 0
                elif metric == "conversions":
                    counted += sum(act.value is not None for act in mine)
                else:
                    counted += sum((act.value for act in mine if act.value is not None), Decimal(0))
            cells.append((counted, midnight(after(day, high + 1, period), zone) <= end))
        rows.append(Row(day, len(cohorts[day]), tuple(cells)))
    return rows
