"""Paths: the ways that visitors took, as sequences of a dimension's values."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from analytics_svc.behavior.columns import (
    ACTOR,
    EVENT_ORDER,
    MILLISECOND,
    actor_columns,
    before,
    bind_dimension,
)
from analytics_svc.dimension import Dimension
from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement, condition_of
from svc_runtime.errors import QueryLimitError

DEFAULT_LOOKBACK = timedelta(days=30)
LONGEST_LOOKBACK = timedelta(days=366)
DEFAULT_LIMIT = 100
MOST_PATHS = 10_000
LONGEST_PATH = 1_000
"""Values of one path: the last ones before the conversion."""
MOST_VALUES = 1_000_000
"""Values of all paths of an answer."""
TOUCH_TYPES = ("click", "pageview")
"""Events that lead somewhere, where they are no conversions."""


@dataclass(frozen=True, slots=True)
class PathSpec:
    """Which paths. Visitors alone have one: events without a ``user_id`` are left out."""

    slice: Slice
    """Its conversions; touches may be earlier by the look-back. Its currency is set."""
    dimension: Dimension
    lookback: timedelta = DEFAULT_LOOKBACK
    """Longest time from a touch to the conversion, included; whole milliseconds."""
    collapses_repeats: bool = False
    """The same value twice in a row is one."""
    includes_unconverted: bool = False
    """Visitors with touches in the slice and no conversion in it, up to their last touch."""
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Path:
    """One sequence."""

    values: tuple[str, ...]
    """In the order of time; empty for conversions that no touch led to."""
    conversion_count: int
    unconverted_count: int
    revenue: Decimal


def compile_paths(spec: PathSpec) -> Statement:
    """Compile to a statement with rows of path, conversions, unconverted, revenue and the number of all paths.

    Most conversions first, then most unconverted, then by the values.
    """
    reach = replace(spec.slice, start_time=before(spec.slice.start_time, spec.lookback))
    condition = condition_of(reach)
    parameters = condition.parameters | {
        "slice_start_ms": condition_of(spec.slice).parameters["start_ms"],
        "lookback_ms": spec.lookback // timedelta(milliseconds=1),
        "currency": spec.slice.currency,
        "touch_types": list(TOUCH_TYPES),
        "limit": spec.limit,
    }
    parameters |= bind_dimension(spec.dimension, spec.slice.time_zone)
    within = "touch.1 BETWEEN ending.1 - {lookback_ms:Int64} AND ending.1"
    path = f"arrayMap(touch -> touch.3, arrayFilter(touch -> {within}, touches))"
    if spec.collapses_repeats:
        path = f"arrayCompact({path})"
    kept, whose = "notEmpty(conversions)", "user_id != ''"
    if spec.includes_unconverted:
        kept = f"({kept} OR arrayExists(touch -> touch.1 >= {{slice_start_ms:Int64}}, touches))"
    else:
        # Few visitors convert: the others' touches need not be held.
        whose = (
            f"user_id IN (SELECT user_id FROM events PREWHERE {condition.prewhere}"  # noqa: S608 - our own text
            f" WHERE {condition.where} AND is_conversion = 1 AND user_id != '')"
        )
    sql = f"""
SELECT arraySlice({path}, -{LONGEST_PATH}) AS path,
    countIf(ending.3 = 1) AS converted, countIf(ending.3 = 0) AS unconverted, sum(ending.2), count() OVER ()
FROM (
    SELECT arraySort(groupArrayIf((at, id, touched), is_touch)) AS touches,
        groupArrayIf((at, amount, 1), is_ending) AS conversions
    FROM (
        SELECT {actor_columns("user_id")}, {MILLISECOND} AS at, {EVENT_ORDER} AS id,
            {spec.dimension.expression} AS touched,
            is_conversion = 0 AS is_touch, is_conversion = 1 AND at >= {{slice_start_ms:Int64}} AS is_ending,
            if(currency = {{currency:String}}, toDecimal128(ifNull(value, 0), 6), 0) AS amount
        FROM events PREWHERE {condition.prewhere}
        WHERE {whose} AND {condition.where}
            AND (is_conversion = 1 OR event_type IN {{touch_types:Array(String)}})
    )
    GROUP BY {ACTOR}
    HAVING {kept}
)
ARRAY JOIN if(empty(conversions), [(touches[-1].1, toDecimal128(0, 6), 0)], conversions) AS ending
GROUP BY path
ORDER BY converted DESC, unconverted DESC, path
LIMIT {{limit:UInt32}}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters, can_spill=True)


def paths_of(rows: Rows) -> tuple[list[Path], int]:
    """Return the paths, and how many there are, those left out too. Raise QueryLimitError for too long an answer."""
    if sum(len(row[0]) for row in rows.rows) > MOST_VALUES:
        raise QueryLimitError(
            f"the paths have more than {MOST_VALUES:,} values: collapse repeats, or ask for fewer paths or a shorter"
            " look-back"
        )
    paths = [
        Path(tuple(path), converted, unconverted, revenue) for path, converted, unconverted, revenue, _ in rows.rows
    ]
    return paths, rows.rows[0][4] if rows.rows else 0
