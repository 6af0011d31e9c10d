"""What reports can show: measures, which a query sums up, and metrics, which are made of them.

A measure has one meaning and a text for each place that can answer it; ``{currency:String}`` in a text is the currency
that amounts are reported in. Amounts without a currency are in no measure.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from svc_runtime.errors import Violation

MOST_METRICS = 20
_UNIQUE = "uniqCombined64"
_PRECISION = 14


def unique(combinators: str = "") -> str:
    """Return the function that counts different values in reports and in the roll-ups that answer them.

    Exact up to about 500 values, then within about 0.8 %. Its default precision is exact up to about 5,000, but a merge
    or a value of a dimension costs eight times as much: a month of hours took 185 ms instead of 27.
    """
    return f"{_UNIQUE}{combinators}({_PRECISION})"


class Unit(enum.StrEnum):
    """What a metric's number is."""

    COUNT = "count"
    PERCENT = "percent"
    RATIO = "ratio"
    MONEY = "money"


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that adds up, or merges, over events."""

    name: str
    function: str
    """``count``, ``sum`` or ``unique``."""
    of_events: str
    """What is summed up or counted once, of a row of ``events``; empty: the row."""
    where_event: str
    """Which rows of ``events`` count; empty: all."""
    of_rollup: str
    """The column of the roll-ups; empty: they do not have it."""
    where_rollup: str = ""
    """Which rows of the roll-ups count; empty: all."""
    is_of_bots: bool = False
    """It counts bots, whether the slice includes them or not."""

    @property
    def is_unique(self) -> bool:
        """True: a state that is merged. False: a number that is added."""
        return self.function == "unique"


_IN_CURRENCY = "currency = {currency:String} AND currency != ''"
_COST_IN_CURRENCY = "cost_currency = {currency:String} AND cost_currency != ''"
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        measure.name: measure
        for measure in (
            Measure("events", "count", "", "", "events"),
            Measure("clicks", "count", "", "event_type = 'click'", "clicks"),
            Measure("conversions", "count", "", "is_conversion = 1", "conversions"),
            Measure(
                "orders",
                "count",
                "",
                f"is_conversion = 1 AND isNotNull(value) AND {_IN_CURRENCY}",
                "conversions",
                _IN_CURRENCY,
            ),
            Measure(
                "revenue",
                "sum",
                "value",
                f"(is_conversion = 1 OR is_adjustment = 1) AND {_IN_CURRENCY}",
                "revenue",
                _IN_CURRENCY,
            ),
            Measure(
                "cost",
                "sum",
                "cost",
                _COST_IN_CURRENCY,
                "cost",
                _COST_IN_CURRENCY,
            ),
            Measure("users", "unique", "user_id", "user_id != ''", "users"),
            Measure("sessions", "unique", "session_id", "session_id != ''", "sessions"),
            Measure("ips", "unique", "ip", "ip != ''", ""),
            Measure("bots", "count", "", "is_bot = 1", "events", "is_bot = 1", is_of_bots=True),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a report."""

    name: str
    description: str
    unit: Unit
    measures: tuple[str, ...]
    """What it is made of."""
    expression: str
    """Text over ``m_<measure>``. NULL: there is no such number."""
    of_nothing: float | None = 0
    """What it is where there are no events."""


def _count(name: str, description: str, measure: str) -> Metric:
    return Metric(name, description, Unit.COUNT, (measure,), f"m_{measure}")


def _per(name: str, description: str, unit: Unit, amount: str, count: str) -> Metric:
    """Return an amount for each of a count; there is none of nothing."""
    return Metric(
        name, description, unit, (amount, count), f"if(m_{count} = 0, NULL, toFloat64(m_{amount}) / m_{count})", None
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _count("events", "Events of any kind.", "events"),
            _count("clicks", "Events of the type `click`.", "clicks"),
            _count(
                "unique_users",
                "Different visitors (`user_id`) among the events that have one. Exact up to about 500, then within "
                "about 0.8 %.",
                "users",
            ),
            _count(
                "sessions",
                "Different sessions: a visitor's events with no gap of more than 30 minutes. Exact and approximate as "
                "`unique_users`.",
                "sessions",
            ),
            _count("conversions", "Conversions that count: not the rejected ones, and no tests.", "conversions"),
            Metric(
                "conversion_rate",
                "Conversions for each 100 clicks; none without clicks.",
                Unit.PERCENT,
                ("conversions", "clicks"),
                "if(m_clicks = 0, NULL, 100 * m_conversions / m_clicks)",
                None,
            ),
            Metric(
                "revenue",
                "Values of the conversions that count, with what was added or taken back later, in the report's "
                "currency.",
                Unit.MONEY,
                ("revenue",),
                "m_revenue",
            ),
            _per(
                "average_order_value",
                "Revenue for each conversion that has a value in the report's currency; none without such.",
                Unit.MONEY,
                "revenue",
                "orders",
            ),
            _per("revenue_per_click", "Revenue for each click; none without clicks.", Unit.MONEY, "revenue", "clicks"),
            Metric("cost", "What events cost, in the report's currency.", Unit.MONEY, ("cost",), "m_cost"),
            _per("cost_per_click", "Cost for each click; none without clicks.", Unit.MONEY, "cost", "clicks"),
            _per(
                "cost_per_conversion",
                "Cost for each conversion that counts; none without such.",
                Unit.MONEY,
                "cost",
                "conversions",
            ),
            Metric("profit", "Revenue less cost.", Unit.MONEY, ("revenue", "cost"), "m_revenue - m_cost"),
            Metric(
                "roas",
                "Revenue for each unit of cost; 0 where nothing was spent.",
                Unit.RATIO,
                ("revenue", "cost"),
                "if(m_cost = 0, 0, toFloat64(m_revenue) / toFloat64(m_cost))",
            ),
            _count("bot_events", "Events marked as bots, whether the slice includes them or leaves them out.", "bots"),
            _count(
                "unique_ips",
                "Different addresses. Exact and approximate as `unique_users`. Read from the events themselves.",
                "ips",
            ),
        )
    }
)
"""Every metric."""


def metrics_of(
    names: Sequence[str], *, path: str, violations: list[Violation], default: Sequence[str] = ()
) -> tuple[Metric, ...]:
    """Find metrics by name, ``default`` where none is named; a violation lists the valid ones."""
    if not names and default:
        return tuple(METRICS[name] for name in default)
    valid = ", ".join(METRICS)
    if not 1 <= len(names) <= MOST_METRICS:
        violations.append(Violation(path, f"has {len(names)} metrics, 1 to {MOST_METRICS} are needed of {valid}"))
        return ()
    if len(set(names)) < len(names):
        violations.append(Violation(path, "names a metric twice"))
    for at, name in enumerate(names):
        if name not in METRICS:
            violations.append(Violation(f"{path}[{at}]", f"{name[:60]!r} is no metric; there are {valid}"))
    return tuple(METRICS[name] for name in names if name in METRICS)


def measures_of(metrics: Sequence[Metric]) -> tuple[Measure, ...]:
    """Return what the metrics are made of, each once."""
    return tuple(MEASURES[name] for name in dict.fromkeys(name for metric in metrics for name in metric.measures))


def are_in_money(metrics: Sequence[Metric]) -> bool:
    """Say whether a currency is needed."""
    return any({"revenue", "cost"} & set(metric.measures) for metric in metrics)


def has_unique(metrics: Sequence[Metric]) -> bool:
    """Say whether something is counted once however often it is there."""
    return any(measure.is_unique for measure in measures_of(metrics))
