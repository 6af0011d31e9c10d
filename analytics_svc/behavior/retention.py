"""Retention: of those who began in the same period, how many come back in which later one."""

import enum
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from analytics_svc.behavior.columns import ACTOR, actor_columns
from analytics_svc.behavior.period import Period
from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement, condition_of
from rule_language.predicate import Predicate
from rule_language.sql import compile_sql

DEFAULT_PERIOD_COUNT = 14
MOST_PERIODS = 366
MOST_CELLS = 100_000
Number = int | Decimal
_MEMBERS = -1  # the row that counts a cohort's members
_NOWHERE = -2
# No event is earlier or later, and a time zone can be applied to either.
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class RetentionKind(enum.Enum):
    """When an actor counts as having come back in period N."""

    N_DAY = "n_day"
    """In period N exactly."""
    UNBOUNDED = "unbounded"
    """In period N or any later one."""
    BRACKET = "bracket"
    """In the bracket of periods that N names."""


class RetentionMetric(enum.Enum):
    """What is summed."""

    ACTORS = ""
    CONVERSIONS = "conversions"
    REVENUE = "revenue"


@dataclass(frozen=True, slots=True)
class RetentionSpec:
    """A retention matrix. An actor is a visitor: events without a ``user_id`` are left out."""

    slice: Slice
    start: Predicate | None = None
    """Which event makes an actor a member of the cohort of its first such event; None: any."""
    come_back: Predicate | None = None
    """Which events count as coming back; None: any."""
    period: Period = Period.DAY
    period_count: int = DEFAULT_PERIOD_COUNT
    """Periods after the first, 1 to 366."""
    kind: RetentionKind = RetentionKind.N_DAY
    brackets: tuple[int, ...] = ()
    """With BRACKET: the last period of each, rising."""
    metric: RetentionMetric = RetentionMetric.ACTORS
    """Revenue is that in the slice's currency, which is set then."""

    @property
    def buckets(self) -> tuple[tuple[int, int], ...]:
        """The first and the last period of each cell, counted from the cohort's own, which is cell 0."""
        if self.kind is RetentionKind.BRACKET:
            return ((0, 0), *((low + 1, high) for low, high in zip((0, *self.brackets), self.brackets, strict=False)))
        return tuple((number, number) for number in range(self.period_count + 1))


@dataclass(frozen=True, slots=True)
class RetentionCell:
    """One period, or bracket, of one cohort."""

    value: Number
    """Actors that count, or the sum of the metric."""
    percent: float | None
    """Of the members; None for a metric."""
    is_complete: bool
    """False: it is not over yet."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who began in the same period."""

    start_time: datetime | None
    """None: all cohorts together."""
    size: int
    cells: tuple[RetentionCell, ...]


def cell_count(spec: RetentionSpec) -> int:
    """Return how many cells the matrix has at most."""
    first, last = _span(spec)
    cohorts, buckets = last - first + 1, spec.buckets
    return sum(min(len(buckets), bisect_left(buckets, (cohorts - at, 0))) for at in range(cohorts))


def compile_retention(spec: RetentionSpec) -> Statement:
    """Compile to a statement with rows of cohort, bucket, count and sum; bucket -1 counts the members."""
    condition = condition_of(spec.slice)
    parameters = condition.parameters | {
        "time_zone": spec.slice.time_zone,
        "last": spec.buckets[-1][1],
        "brackets": list(spec.brackets),
    }
    starts = _flag(spec.start, "start_", spec, parameters)
    returns = _flag(spec.come_back, "return_", spec, parameters)
    hits, amount = _periods(spec, parameters), "1"
    if spec.metric is not RetentionMetric.ACTORS:
        returns = f"({returns}) AND is_conversion = 1"
        if spec.metric is RetentionMetric.REVENUE:
            returns, amount = f"{returns} AND currency = {{currency:String}}", "toDecimal128(ifNull(value, 0), 6)"
            parameters["currency"] = spec.slice.currency
        # A sum needs every event, and those before the actor's own first do not belong to it.
        began = "minIf(event_time, is_start)"
        later = f"arrayFilter(hit -> hit.1 >= {began}, groupArrayIf((event_time, period, amount), is_return))"
        hits = f"arrayMap(hit -> (hit.2, hit.3), {later})"
    sql = f"""
SELECT cohort, hit.1 AS bucket, count(), sum(hit.2)
FROM (
    SELECT minIf(period, is_start) AS cohort, {hits} AS hits
    FROM (
        SELECT {actor_columns("user_id")}, event_time, {spec.period.expression} AS period, {amount} AS amount,
            {starts} AS is_start, {returns} AS is_return
        FROM events PREWHERE {condition.prewhere}
        WHERE user_id != '' AND {condition.where} AND (is_start OR is_return)
    )
    GROUP BY {ACTOR}
    HAVING countIf(is_start) > 0
)
ARRAY JOIN arrayConcat([({_MEMBERS}, {_zero(spec)})], {_bucketed(spec)}) AS hit
GROUP BY cohort, bucket
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters, can_spill=True)


def _periods(spec: RetentionSpec, parameters: dict[str, object]) -> str:
    """Return the periods in which an actor came back: one bit for each where they are few, which keeps actors small."""
    first, last = _span(spec)
    # One more at either end, should the store's time zones be others than ours.
    parameters["origin"] = first - 1
    width = next((width for width in (64, 256) if last - first + 3 <= width), None)
    if width is None:
        return "groupUniqArrayIf(period, is_return)"
    bit = f"bitShiftLeft(toUInt{width}(1), toUInt8(period - {{origin:Int32}}))"
    positions = f"bitPositionsToArray(groupBitOrIf({bit}, is_return))"
    return f"arrayMap(position -> toInt32(position) + {{origin:Int32}}, {positions})"


def _flag(predicate: Predicate | None, prefix: str, spec: RetentionSpec, parameters: dict[str, object]) -> str:
    if predicate is None:
        return "toUInt8(1)"
    compiled = compile_sql(predicate, time_zone=spec.slice.time_zone, prefix=prefix)
    parameters |= compiled.parameters
    return f"toUInt8(ifNull({compiled.text}, 0))"


def _zero(spec: RetentionSpec) -> str:
    return "toDecimal128(0, 6)" if spec.metric is RetentionMetric.REVENUE else "0"


_BRACKET = "if(offset = 0, 0, toInt32(1 + arrayCount(bracket -> bracket < offset, {brackets:Array(Int32)})))"
_BUCKETS = {
    RetentionKind.N_DAY: f"if(offset <= {{last:Int32}}, offset, {_NOWHERE})",
    RetentionKind.UNBOUNDED: "least(offset, {last:Int32})",
    RetentionKind.BRACKET: f"if(offset <= {{last:Int32}}, toInt32({_BRACKET}), {_NOWHERE})",
}


def _bucketed(spec: RetentionSpec) -> str:
    """Return the array of the cells that an actor's periods belong to, each with its amount."""
    bucket = _BUCKETS[spec.kind]
    if spec.metric is not RetentionMetric.ACTORS:
        bucketed = f"arrayMap(hit -> ({bucket.replace('offset', '(hit.1 - cohort)')}, hit.2), hits)"
        return f"arrayFilter(hit -> hit.1 >= 0, {bucketed})"
    offsets = "arrayFilter(offset -> offset > 0, arrayMap(period -> period - cohort, hits))"
    if spec.kind is RetentionKind.UNBOUNDED:
        # Only the last one counts: it stands for every earlier cell too.
        offsets = f"if(empty({offsets}), [], [arrayMax({offsets})])"
    buckets = f"arrayDistinct(arrayFilter(bucket -> bucket > 0, arrayMap(offset -> {bucket}, {offsets})))"
    return f"arrayMap(bucket -> (bucket, 1), {buckets})"


def cohorts_of(spec: RetentionSpec, rows: Rows, *, now: datetime, known_until: datetime) -> tuple[list[Cohort], Cohort]:
    """Return the cohorts in the order of time, and all of them together.

    ``now`` ends what is there, ``known_until`` what is complete: everything received before it is in the rows.
    """
    is_sum = spec.metric is not RetentionMetric.ACTORS
    found: dict[int, dict[int, Number]] = {}
    for cohort, bucket, count, total in rows.rows:
        found.setdefault(cohort, {})[bucket] = total if is_sum and bucket != _MEMBERS else count
    horizon = min(spec.slice.end_time, now)
    whole_until = min(horizon, known_until)
    cohorts = [_cohort(spec, number, found[number], horizon, whole_until) for number in sorted(found)]
    return cohorts, _overall(cohorts, is_sum=is_sum)


def _cohort(
    spec: RetentionSpec, number: int, found: Mapping[int, Number], horizon: datetime, whole_until: datetime
) -> Cohort:
    zone, size = spec.slice.zone, int(found[_MEMBERS])
    values = _values(spec, found, size)
    cells: list[RetentionCell] = []
    for (low, high), value in zip(spec.buckets, values, strict=True):
        if cells and spec.period.start_of(number + low, zone) >= horizon:
            break
        percent = 100 * int(value) / size if spec.metric is RetentionMetric.ACTORS else None
        is_complete = spec.period.start_of(number + high + 1, zone) <= whole_until
        cells.append(RetentionCell(value, percent, is_complete))
    return Cohort(spec.period.start_of(number, zone), size, tuple(cells))


def _values(spec: RetentionSpec, found: Mapping[int, Number], size: int) -> Sequence[Number]:
    values = [found.get(bucket, 0) for bucket in range(len(spec.buckets))]
    if spec.kind is RetentionKind.UNBOUNDED:
        for bucket in reversed(range(len(values) - 1)):
            values[bucket] += values[bucket + 1]
    if spec.metric is RetentionMetric.ACTORS:
        values[0] = size
    return values


def _overall(cohorts: Sequence[Cohort], *, is_sum: bool) -> Cohort:
    """Add up, for each cell, the cohorts that have it whole."""
    cells: list[RetentionCell] = []
    while alive := [cohort for cohort in cohorts if len(cohort.cells) > len(cells) and _is_whole(cohort, len(cells))]:
        value = sum((cohort.cells[len(cells)].value for cohort in alive), start=0)
        size = sum(cohort.size for cohort in alive)
        cells.append(RetentionCell(value, None if is_sum else 100 * int(value) / size, is_complete=True))
    return Cohort(None, sum(cohort.size for cohort in cohorts), tuple(cells))


def _is_whole(cohort: Cohort, at: int) -> bool:
    return cohort.cells[at].is_complete


def _span(spec: RetentionSpec) -> tuple[int, int]:
    """Return the first and the last period of the slice."""
    start, end = (min(max(bound, _EARLIEST), _LATEST) for bound in (spec.slice.start_time, spec.slice.end_time))
    last = max(start, end - timedelta(milliseconds=1))
    return spec.period.number_of(start, spec.slice.zone), spec.period.number_of(last, spec.slice.zone)
