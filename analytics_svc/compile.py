"""Compiles questions to statements: pure functions, the same text for the same question.

A question that one table answers is one SELECT. One that several answer is a UNION ALL of a SELECT for each, around
which sums are added and states are merged: no number depends on which tables were taken.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from analytics_svc.dimension import Dimension
from analytics_svc.metric import MEASURES, Measure, Metric, measures_of, unique
from analytics_svc.plan import Part, Plan, Source, plan_of
from analytics_svc.slice import Slice
from analytics_svc.statement import ORGANIZATION, Statement, bound, condition_of, one_of
from analytics_svc.store.known import known_events
from rule_language.sql import compile_sql

_LAST_DATE_TIME = 2**32 - 1
_TIMES = {
    Source.DAY: "toDateTime(day, 'UTC')",
    Source.UNIQUE_DAY: "time",
    Source.UNIQUE_HOUR: "time",
    Source.MINUTE: "minute",
    Source.EVENTS: "event_time",
}
_TABLES = {
    Source.DAY: "rollup_day",
    Source.UNIQUE_DAY: "rollup_unique",
    Source.UNIQUE_HOUR: "rollup_unique",
    Source.MINUTE: "rollup_minute",
}
_SUMMED = frozenset({Source.DAY, Source.MINUTE})
_GRAINS = {Source.UNIQUE_DAY: "day", Source.UNIQUE_HOUR: "hour"}
_HAS_DIMENSION = frozenset({Source.DAY, Source.UNIQUE_DAY, Source.UNIQUE_HOUR})
_MONEY = MEASURES["revenue"], MEASURES["conversions"]


@dataclass(frozen=True, slots=True)
class Order:
    """Which rows come first; rows of the same number by their values."""

    metric: int
    """Its place among the metrics."""
    is_ascending: bool
    limit: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """Metrics of a slice by dimensions and steps."""

    part: Slice
    metrics: tuple[Metric, ...]
    currency: str
    """Amounts in others are in no number."""
    dimensions: tuple[Dimension, ...] = ()
    steps: tuple[datetime, ...] = ()
    """First instants of steps that cover the range; with them, there are rows of totals too."""
    rows: tuple[tuple[str, ...], ...] = ()
    """Only these combinations of values; empty: all."""
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement and what it reads.

    Its columns are the dimensions; with steps the Unix second of the step, and the row's level: 0 is a step, 1 is the
    total over all steps, more is over values too; then the metrics.
    """

    statement: Statement
    sources: tuple[str, ...]


def compile_question(question: Question, *, plan: Plan | None = None) -> Compiled:
    """Compile a question, by default with the plan that reads least."""
    measures = measures_of(question.metrics)
    plan = plan or plan_of(
        question.part,
        dimensions=[dimension.name for dimension in question.dimensions],
        measures=measures,
        steps=question.steps,
    )
    compiler = _Compiler(question, plan)
    return Compiled(Statement(compiler.text(measures), compiler.parameters), plan.sources)


def compile_currencies(part: Slice) -> Compiled:
    """Compile the question which currencies a slice has.

    Columns: currency of the conversions' values, currency of the cost, conversions, revenue, events.
    """
    plan = plan_of(part, dimensions=(), measures=_MONEY)
    compiler = _Compiler(Question(part, (), ""), plan)
    selects = "\nUNION ALL\n".join(compiler.currencies(at, one) for at, one in enumerate(plan.parts))
    sql = (
        "SELECT revenue_currency, cost_currency, sum(conversions), sum(revenue), sum(events)\n"
        f"FROM (\n{selects}\n)\nGROUP BY revenue_currency, cost_currency"
    )
    return Compiled(Statement(sql, compiler.parameters), plan.sources)


def compile_campaign_days(organization_id: str, campaign_id: str) -> Statement:
    """Compile the question when a campaign has events: the first and the last UTC day, and how many days have some."""
    sql = (
        "SELECT min(day), max(day), count()\nFROM (\nSELECT day FROM rollup_day\n"  # noqa: S608 - our own text
        f"PREWHERE organization_id = {{{ORGANIZATION}:String}} AND dimension = 'campaign_id'\n"
        "WHERE value = {campaign:String}\nGROUP BY day HAVING sum(events) != 0\n)"
    )
    return Statement(sql, {ORGANIZATION: organization_id, "campaign": campaign_id})


def compile_campaign_minutes(organization_id: str, campaign_id: str, days: tuple[date, date]) -> Statement:
    """Compile the question for the first and the last minute, as Unix seconds, of a campaign on these UTC days."""
    day = "toDate(minute, 'UTC')"
    sql = (
        "SELECT toUnixTimestamp(min(minute)), toUnixTimestamp(max(minute))\nFROM (\nSELECT minute FROM rollup_minute\n"  # noqa: S608 - our own text
        f"PREWHERE organization_id = {{{ORGANIZATION}:String}} AND {day} IN ({{first:Date}}, {{last:Date}})\n"
        "WHERE campaign_id = {campaign:String}\nGROUP BY minute HAVING sum(events) != 0\n)"
    )
    return Statement(sql, {ORGANIZATION: organization_id, "campaign": campaign_id, "first": days[0], "last": days[1]})


def compile_campaign_then(part: Slice) -> Statement:
    """Compile the question when a slice has events as it was known: the first, the last, as Unix seconds, how many."""
    plan = plan_of(part, dimensions=(), measures=[MEASURES["events"]])
    compiler = _Compiler(Question(part, (), ""), plan)
    return compiler.span()


class _Compiler:
    def __init__(self, question: Question, plan: Plan) -> None:
        self._question = question
        self._plan = plan
        self._counts_bots = any(one.is_of_bots for part in plan.parts for one in part.measures)
        self.parameters: dict[str, object] = {ORGANIZATION: question.part.organization_id}

    def text(self, measures: Sequence[Measure]) -> str:
        """Return the whole statement."""
        if any("{currency:String}" in one.where_event for one in measures):
            self.parameters["currency"] = self._question.currency
        parts = self._plan.parts
        if len(parts) == 1:
            aggregates = [f"{self._aggregate(one, parts[0].source)} AS m_{one.name}" for one in measures]
            keys, source = self._keys(parts[0]), self._from(0, parts[0])
        else:
            aggregates = [f"{_merge(one)} AS m_{one.name}" for one in measures]
            keys = [(name, name) for name in self._key_names()]
            source = "FROM (\n" + "\nUNION ALL\n".join(map(self._branch, range(len(parts)))) + "\n)"
        return "\n".join(
            [
                "WITH\n    " + ",\n    ".join(aggregates),
                "SELECT\n    " + ",\n    ".join(self._columns(keys)),
                source,
                *self._grouping(),
                *self._ordering(),
            ]
        )

    def span(self) -> Statement:
        """Return the statement that tells from when to when there are events."""
        source = self._from(0, self._plan.parts[0])
        seconds = "toUnixTimestamp(min(event_time)), toUnixTimestamp(max(event_time)), count()"
        return Statement(f"SELECT {seconds}\n{source}", self.parameters)

    def currencies(self, at: int, part: Part) -> str:
        """Return the SELECT of the currencies of one part of the plan."""
        if part.source is Source.EVENTS:
            earning = "(is_conversion = 1 OR is_adjustment = 1)"
            columns = (
                f"if({earning} AND isNotNull(value), currency, '') AS revenue_currency,"
                " if(isNotNull(cost), events.cost_currency, '') AS cost_currency,"
                " countIf(is_conversion = 1) AS conversions,"
                f" ifNull(sumIf(value, {earning}), 0) AS revenue, count() AS events"
            )
            only = f" AND ({earning} OR isNotNull(cost))"
        else:
            columns = (
                "currency AS revenue_currency, cost_currency,"
                " sum(r.conversions) AS conversions, sum(r.revenue) AS revenue, sum(r.events) AS events"
            )
            only = ""
        having = "" if part.source is Source.EVENTS else "\nHAVING sum(r.events) != 0"
        return f"SELECT {columns}\n{self._from(at, part)}{only}\nGROUP BY revenue_currency, cost_currency{having}"

    def _key_names(self) -> list[str]:
        names = [f"d{at}" for at in range(len(self._question.dimensions))]
        return [*names, "t"] if self._question.steps else names

    def _keys(self, part: Part) -> list[tuple[str, str]]:
        """Return the keys of the rows with their names."""
        keys = [
            (self._dimension(place, dimension, part), f"d{place}")
            for place, dimension in enumerate(self._question.dimensions)
        ]
        return [*keys, (self._step(part.source), "t")] if self._question.steps else keys

    def _columns(self, keys: Sequence[tuple[str, str]]) -> list[str]:
        columns = [expression if expression == name else f"{expression} AS {name}" for expression, name in keys]
        if self._question.steps:
            columns.append(" + ".join(f"grouping({name})" for name in self._key_names()) + " AS level")
        return columns + [f"{metric.expression} AS v{at}" for at, metric in enumerate(self._question.metrics)]

    def _grouping(self) -> list[str]:
        names = self._key_names()
        if not names:
            return []
        grouping = f"GROUP BY {', '.join(names)}" + (" WITH ROLLUP" if self._question.steps else "")
        parts = self._plan.parts
        return [grouping + (_left(parts[0]) if len(parts) == 1 else "")]

    def _ordering(self) -> list[str]:
        order = self._question.order
        if order is None:
            return []
        direction = "ASC" if order.is_ascending else "DESC"
        self.parameters |= {"row_limit": order.limit, "row_offset": order.offset}
        return [
            f"ORDER BY {', '.join([f'v{order.metric} {direction} NULLS LAST', *self._key_names()])}",
            "LIMIT {row_limit:UInt64} OFFSET {row_offset:UInt64}",
        ]

    def _branch(self, at: int) -> str:
        """Return the SELECT of one part of the plan: its keys, and what adds up or merges."""
        part = self._plan.parts[at]
        every = measures_of(self._question.metrics)
        columns = [f"{expression} AS {name}" for expression, name in self._keys(part)]
        columns += [f"{self._state(one, part)} AS p_{one.name}" for one in every]
        names = self._key_names()
        grouping = f"\nGROUP BY {', '.join(names)}{_left(part)}" if names else ""
        return "SELECT\n    " + ",\n    ".join(columns) + f"\n{self._from(at, part)}{grouping}"

    def _dimension(self, place: int, dimension: Dimension, part: Part) -> str:
        return bound(_at_source(dimension, part), f"d{place}", self._question.part.time_zone, self.parameters)

    def _step(self, source: Source) -> str:
        """Return the Unix second at which the row's step begins."""
        seconds = [int(step.timestamp()) for step in self._question.steps]
        instant = f"toInt64(toUnixTimestamp({_TIMES[source]}))"
        lengths = {later - first for first, later in itertools.pairwise(seconds)}
        if len(lengths) > 1:
            self.parameters["steps"] = seconds
            return f"roundDown({instant}, {{steps:Array(Int64)}})"
        self.parameters |= {"first_step": seconds[0], "step_seconds": next(iter(lengths), 2**31)}
        return (
            f"{{first_step:Int64}} + intDiv({instant} - {{first_step:Int64}}, {{step_seconds:Int64}})"
            " * {step_seconds:Int64}"
        )

    def _people(self, measure: Measure) -> str:
        is_apart = self._counts_bots and not self._question.part.includes_bots and not measure.is_of_bots
        return "is_bot = 0" if is_apart else ""

    def _aggregate(self, measure: Measure, source: Source, *, is_state: bool = False) -> str:
        is_event = source is Source.EVENTS
        where = [measure.where_event if is_event else measure.where_rollup, self._people(measure)]
        condition = " AND ".join(filter(None, where))
        # The table's name: an alias of ours may have the column's.
        argument = measure.of_events if is_event else f"r.{measure.of_rollup}"
        suffix = "If" if condition else ""
        if measure.is_unique:
            function = unique(("" if is_event else "Merge") + ("State" if is_state else "") + suffix)
        else:
            function = (measure.function if is_event else "sum") + suffix
        aggregate = f"{function}({', '.join(filter(None, [argument, condition]))})"
        # Amounts may be NULL, and then so is their sum.
        return f"ifNull({aggregate}, 0)" if is_event and measure.function == "sum" else aggregate

    def _state(self, measure: Measure, part: Part) -> str:
        if measure in part.measures:
            return self._aggregate(measure, part.source, is_state=True)
        if measure.is_unique:
            return f"{unique('StateIf')}('', 0)"
        return "toDecimal128(0, 6)" if measure.function == "sum" else "toUInt64(0)"

    def _from(self, at: int, part: Part) -> str:
        prewhere, where = self._events_condition(at, part) if part.source is Source.EVENTS else self._rollup(at, part)
        only = self._only_rows(part)
        if part.source is Source.EVENTS:
            if (as_of := self._question.part.as_of) is not None:
                self.parameters["as_of_ms"] = int(as_of.timestamp() * 1000)
                return f"FROM ({known_events(prewhere)}) AS events\nWHERE {where}{only}"
            return f"FROM events\nPREWHERE {prewhere}\nWHERE {where}{only}"
        return f"FROM {_TABLES[part.source]} AS r\nPREWHERE {prewhere}{only}\nWHERE {where}"

    def _events_condition(self, at: int, part: Part) -> tuple[str, str]:
        slice_ = self._question.part
        if self._counts_bots:
            slice_ = replace(slice_, includes_bots=True)
        condition = condition_of(slice_)
        self.parameters |= condition.parameters
        whole = (condition.parameters["start_ms"], condition.parameters["end_ms"])
        if part.ranges == (whole,):
            return condition.prewhere, condition.where
        ranges = []
        for number, (start, end) in enumerate(part.ranges):
            name = f"b{at}_{number}"
            self.parameters |= {f"{name}_start": start, f"{name}_end": end}
            ranges.append(
                f"event_time >= fromUnixTimestamp64Milli({{{name}_start:Int64}}, 'UTC')"
                f" AND event_time < fromUnixTimestamp64Milli({{{name}_end:Int64}}, 'UTC')"
            )
        return f"{condition.prewhere} AND {_any(ranges)}", condition.where

    def _rollup(self, at: int, part: Part) -> tuple[str, str]:
        slice_ = self._question.part
        conditions = [f"organization_id = {{{ORGANIZATION}:String}}"]
        if part.source in _HAS_DIMENSION:
            self.parameters[f"b{at}_dimension"] = part.carried
            conditions.append(f"dimension = {{b{at}_dimension:String}}")
        if part.source in _GRAINS:
            conditions.append(f"grain = '{_GRAINS[part.source]}'")
        conditions.append(_any([self._seconds(f"b{at}_{number}", part, one) for number, one in enumerate(part.ranges)]))
        # Before the states are read, which are large. The rule waits until the rows are the organisation's alone.
        if not slice_.includes_bots and not self._counts_bots:
            conditions.append("is_bot = 0")
        for number, chosen in enumerate(slice_.dimension_filters):
            there = replace(chosen, dimension=_at_source(chosen.dimension, part))
            conditions.append(one_of(there, f"b{at}f_d{number}", slice_.time_zone, self.parameters))
        if slice_.filter is None:
            return " AND ".join(conditions), "1"
        columns = {"event_time": _TIMES[part.source], **({part.carried: "value"} if part.carried else {})}
        compiled = compile_sql(slice_.filter, columns=columns, time_zone=slice_.time_zone, prefix=f"b{at}f")
        self.parameters |= compiled.parameters
        return " AND ".join(conditions), f"({compiled.text})"

    def _seconds(self, name: str, part: Part, range_: tuple[int, int]) -> str:
        start, end = (min(max(edge // 1000, 0), _LAST_DATE_TIME) for edge in range_)
        self.parameters |= {f"{name}_start": start, f"{name}_end": end}
        low, high = (f"toDateTime({{{name}_{edge}:UInt32}}, 'UTC')" for edge in ("start", "end"))
        if part.source is Source.DAY:
            return f"day >= toDate({low}) AND day < toDate({high})"
        column = _TIMES[part.source]
        return f"{column} >= {low} AND {column} < {high}"

    def _only_rows(self, part: Part) -> str:
        """Return the condition that a row is of one of the wanted combinations."""
        wanted = self._question.rows
        if not wanted:
            return ""
        texts = [expression for expression, _ in self._keys(part)[: len(self._question.dimensions)]]
        for place, values in enumerate(zip(*wanted, strict=True)):
            self.parameters[f"only_{place}"] = list(values)
        if len(texts) == 1:
            return f" AND {texts[0]} IN {{only_0:Array(String)}}"
        arrays = ", ".join(f"{{only_{place}:Array(String)}}" for place in range(len(texts)))
        strings = ", ".join(f"toString({text})" for text in texts)
        return f" AND ({strings}) IN (SELECT arrayJoin(arrayZip({arrays})))"


def _left(part: Part) -> str:
    """Return what leaves out keys from which every event was moved to another one: their sums are 0."""
    return "\nHAVING sum(r.events) != 0" if part.source in _SUMMED else ""


def _at_source(dimension: Dimension, part: Part) -> Dimension:
    """Return the dimension as the rows of a part's table tell it."""
    if part.source is Source.EVENTS:
        return dimension
    if dimension.name == part.carried:
        return replace(dimension, expression="value")
    return replace(dimension, expression=dimension.expression.replace("event_time", _TIMES[part.source]))


def _merge(measure: Measure) -> str:
    return f"{unique('Merge') if measure.is_unique else 'sum'}(p_{measure.name})"


def _any(conditions: Sequence[str]) -> str:
    return f"({' OR '.join(conditions)})"
