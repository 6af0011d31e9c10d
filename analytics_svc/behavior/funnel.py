"""Funnels: how many actors take one step after the other."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from analytics_svc.behavior.columns import ACTOR, EVENT_ORDER, MILLISECOND, actor_columns, bind_dimension
from analytics_svc.dimension import Dimension
from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement, condition_of
from rule_language.predicate import Predicate
from rule_language.sql import compile_sql
from svc_runtime.errors import QueryLimitError

MOST_STEPS = 32
MOST_VALUES = 50
DEFAULT_WINDOW = timedelta(days=7)
LONGEST_WINDOW = timedelta(days=366)
MOST_EVENTS_ONCE = 1 << 18
"""Events of one actor, where an event counts for one step only."""
# A place in time that no two events of an actor share: milliseconds, then a rank below half of this. With half of it on
# top, a window reaches every rank of its last millisecond and none of the next.
_RANKS = 1 << 24
_STEP_RANKS = 32
_LONGEST_IN_32_BITS = timedelta(milliseconds=1 << 32)


class Actor(enum.StrEnum):
    """Who takes the steps: a column of ``events``. Events without one are left out."""

    USER = "user_id"
    SESSION = "session_id"


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One thing to do."""

    name: str
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class FunnelSpec:
    """A funnel. The flags are those of ClickHouse's ``windowFunnel``."""

    slice: Slice
    steps: tuple[FunnelStep, ...]
    """1 to 32."""
    window: timedelta = DEFAULT_WINDOW
    """Longest time from the first step to the last, included; whole milliseconds."""
    actor: Actor = Actor.USER
    is_strict_order: bool = False
    is_strict_deduplication: bool = False
    is_strict_increase: bool = False
    is_strict_once: bool = False
    allows_reentry: bool = False
    """With strict order only."""
    dimension: Dimension | None = None
    """Split by its value at the actor's earliest first step."""

    @property
    def window_ms(self) -> int:
        """The window in milliseconds."""
        return self.window // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Funnel:
    """One group's actors."""

    value: str
    counts: tuple[int, ...]
    """By step: the actors that came this far."""


def compile_funnel(spec: FunnelSpec) -> Statement:
    """Compile to a statement whose rows are everybody first, then the dimension's values, most actors first."""
    condition = condition_of(spec.slice)
    parameters = condition.parameters
    columns = [actor_columns(spec.actor), f"{_time(spec)} AS at"]
    steps = [f"step{number}" for number in range(len(spec.steps))]
    for name, step in zip(steps, spec.steps, strict=True):
        compiled = compile_sql(step.predicate, time_zone=spec.slice.time_zone, prefix=f"{name}_")
        columns.append(f"toUInt8(ifNull({compiled.text}, 0)) AS {name}")
        parameters |= compiled.parameters
    per_actor = [f"{_level(spec, steps)} AS level", f"{'count()' if spec.is_strict_once else '0'} AS event_count"]
    if spec.is_strict_once:
        fitted = ", ".join(f"if({name}, {number}, 0)" for number, name in enumerate(steps, 1))
        columns += [f"arrayFilter(number -> number > 0, [{fitted}]) AS fitted", f"{EVENT_ORDER} AS id"]
    if spec.dimension is not None:
        columns.append(f"{spec.dimension.expression} AS split")
        parameters |= bind_dimension(spec.dimension, spec.slice.time_zone)
        per_actor.append("tupleElement(minIf((at, split), step0), 2) AS split")
    # Strict order asks what else an actor did: then every event counts.
    where = condition.where if spec.is_strict_order else f"{condition.where} AND ({' OR '.join(steps)})"
    reached = ", ".join(f"countIf(level >= {number})" for number in range(1, len(steps) + 1))
    sql = f"""
SELECT {"split" if spec.dimension else "''"}, max(event_count), {reached}
FROM (
    SELECT {", ".join(per_actor)}
    FROM (
        SELECT {", ".join(columns)}
        FROM events PREWHERE {condition.prewhere} WHERE {spec.actor} != '' AND {where}
    )
    GROUP BY {ACTOR}
)
WHERE level > 0
{_GROUPS if spec.dimension else ""}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters, can_spill=True)


_GROUPS = f"""
GROUP BY GROUPING SETS ((), (split))
ORDER BY grouping(split) DESC, countIf(level >= 1) DESC, split
LIMIT {MOST_VALUES + 1}
"""


def funnels_of(spec: FunnelSpec, rows: Rows) -> list[Funnel]:
    """Return everybody's counts, then those of each value. Raise QueryLimitError for an actor of too many events."""
    step_count = len(spec.steps)
    everybody: Sequence[Any] = rows.rows[0] if rows.rows else ("", 0, *[0] * step_count)
    if everybody[1] > MOST_EVENTS_ONCE:
        raise QueryLimitError(
            f"a visitor has {everybody[1]:,} events; with strict once the limit is {MOST_EVENTS_ONCE:,}: ask for a"
            " shorter time range or a narrower filter"
        )
    first = Funnel("", tuple(everybody[2:]))
    return [first, *(Funnel(row[0], tuple(row[2:])) for row in rows.rows[1:])]


def _time(spec: FunnelSpec) -> str:
    """Return the milliseconds since the slice's start: in 32 bits where they fit, which halves what an actor needs."""
    length = spec.slice.end_time - spec.slice.start_time
    kind = "toUInt32" if length < _LONGEST_IN_32_BITS else "toUInt64"
    return f"{kind}({MILLISECOND} - {{start_ms:Int64}})"


def _level(spec: FunnelSpec, steps: Sequence[str]) -> str:
    modes = {
        "strict_order": spec.is_strict_order,
        "strict_deduplication": spec.is_strict_deduplication,
        "strict_increase": spec.is_strict_increase,
        "strict_once": spec.is_strict_once,
        "allow_reentry": spec.allows_reentry,
    }
    chosen = "".join(f", '{mode}'" for mode, is_chosen in modes.items() if is_chosen)
    if not spec.is_strict_once:
        return f"windowFunnel({spec.window_ms}{chosen})(at, {', '.join(steps)})"
    if not spec.is_strict_order and not spec.is_strict_deduplication:
        return _level_apart(spec, len(steps))
    # These two modes depend on which of two events of the same millisecond comes first: their ids say it.
    return _reduced(
        f"windowFunnel({spec.window_ms}{chosen})",
        "arraySort(event -> (event.1, event.3), groupArray((at, fitted, id)))",
        "event.1",
        [f"has(event.2, {number})" for number in range(1, len(steps) + 1)],
    )


def _level_apart(spec: FunnelSpec, step_count: int) -> str:
    """Count each event for one step only, by making a row of each step that it fits.

    The engine's own ``strict_once`` keeps every sequence that may still go on: some hundred events of one visitor fill
    the memory. The same comes out when rows of one event have its last step first, each event after the other: then no
    chain takes two of them.
    """
    ordered = "arraySort(event -> (event.1, event.2[1], event.3), groupArray((at, fitted, id)))"
    # Where steps must rise in time, no two rows of a millisecond may follow each other: the last step first again.
    rank = "0" if spec.is_strict_increase else f"(place - 1) * {_STEP_RANKS}"
    at = f"toUInt64(toUInt64(event.1) * {_RANKS} + {rank} + {_STEP_RANKS} - number)"
    rows = (
        f"arrayFlatten(arrayMap((event, place) -> arrayMap(number -> ({at}, number), event.2),"
        f" {ordered} AS ordered, arrayEnumerate(ordered)))"
    )
    window = spec.window_ms * _RANKS + _RANKS // 2 - 1
    conditions = [f"event.2 = {number}" for number in range(1, step_count + 1)]
    return _reduced(f"windowFunnel({window})", rows, "event.1", conditions)


def _reduced(function: str, events: str, at: str, conditions: Sequence[str]) -> str:
    """Return the function over an array of events: their times, and whether each is each step."""
    arrays = [f"arrayMap(event -> {at}, {events} AS events)"]
    arrays += [f"arrayMap(event -> {condition}, events)" for condition in conditions]
    name = function.replace("'", "''")
    return f"arrayReduce('{name}', {', '.join(arrays)})"
