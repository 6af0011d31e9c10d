"""The last hour and the day of an organisation: what is asked of the reading, and what its rows come to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from analytics_svc.dimension import DIMENSIONS
from analytics_svc.metric import unique
from analytics_svc.statement import ORGANIZATION, Rows, Statement

TOP_DIMENSIONS = ("source", "campaign_id", "country", "device_type", "referer_host", "path")
TIMELINE_MINUTES = 60
ACTIVE = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RealtimeQuery:
    """What is asked for; equal questions have the same answer."""

    organization_id: str
    time_zone: str = "UTC"
    """Whose today."""
    campaign_id: str = ""
    """Only this campaign; empty: all."""
    includes_bots: bool = False
    top_limit: int = 10


@dataclass(frozen=True, slots=True)
class Window:
    """The instants that the numbers of one moment are between; all in UTC."""

    now: datetime
    midnight: datetime
    """When today began."""

    @classmethod
    def at(cls, now: datetime, time_zone: str) -> "Window":
        """Return the window of a moment."""
        zone = ZoneInfo(time_zone)
        today = datetime.combine(now.astimezone(zone).date(), time(), zone)
        return cls(now, today.astimezone(UTC))

    @property
    def minute(self) -> datetime:
        """First instant of the current minute, the newest of the timeline."""
        return self.now.replace(second=0, microsecond=0)

    @property
    def end(self) -> datetime:
        """First instant after it. Clocks of gateways differ by less than what is left of it."""
        return self.minute + _MINUTE

    @property
    def hour_start(self) -> datetime:
        """First instant of the timeline."""
        return self.end - TIMELINE_MINUTES * _MINUTE

    @property
    def before_start(self) -> datetime:
        """First instant of what the last hour is compared with, which is as long as it: it ends an hour ago."""
        return self.hour_start - _HOUR


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers of a minute, or of a value of a dimension."""

    clicks: int = 0
    conversions: int = 0
    revenue: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Top:
    """The values of one dimension with most clicks, in order."""

    dimension: str
    items: tuple[tuple[str, Line], ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the minutes of the day come to."""

    timeline: tuple[tuple[datetime, Line], ...]
    """Newest first, empty minutes too."""
    clicks_before: int
    """Clicks of the hour before, but for the minute in which it ends."""
    today: Line
    currency: str
    other_revenue: Mapping[str, Decimal]
    """Of today, in other currencies."""


@dataclass(frozen=True, slots=True)
class Realtime:
    """The last hour and the day."""

    query: RealtimeQuery
    window: Window
    watermark_time: datetime | None
    """Everything received before it is in the numbers; None: not known."""
    traffic: Traffic
    clicks_change: float | None
    """Percent more than in the hour before; None when there were none."""
    active_users: int
    top_last_hour: tuple[Top, ...]
    top_today: tuple[Top, ...]
    rows_read: int
    elapsed_seconds: float

    @property
    def clicks_last_hour(self) -> int:
        """Clicks of the timeline."""
        return sum(line.clicks for _, line in self.traffic.timeline)


def compile_minutes(query: RealtimeQuery, window: Window) -> Statement:
    """Ask for (minute, currency, clicks, conversions, revenue) of the day and of two hours.

    What is more than two hours ago is one row of each currency, of the minute 0: it counts for today alone.
    """
    parameters = _parameters(query, min(window.midnight, window.before_start), window.end)
    parameters["before_start"] = _seconds(window.before_start)
    sql = f"""
SELECT if(toUnixTimestamp(minute) >= {{before_start:Int64}}, toUnixTimestamp(minute), 0) AS at,
    toString(currency) AS code, sum(clicks), sum(conversions), sum(revenue)
FROM rollup_minute
PREWHERE organization_id = {{{ORGANIZATION}:String}}
    AND minute >= fromUnixTimestamp({{start:Int64}}) AND minute < fromUnixTimestamp({{end:Int64}})
WHERE {_where(query)}
GROUP BY at, code
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters)


def compile_edges(query: RealtimeQuery, window: Window) -> Statement:
    """Ask for (clicks of the minute in which the hour before ends, as far as it ends; visitors of five minutes)."""
    before_end = window.now - _HOUR
    parameters = _parameters(query, window.hour_start - _MINUTE, window.end)
    parameters["before_end_ms"] = _milliseconds(before_end)
    parameters["active_ms"] = _milliseconds(window.now - ACTIVE)
    sql = f"""
SELECT countIf(event_type = 'click' AND event_time < {_instant("before_end_ms")}),
    {unique("If")}(user_id, user_id != '' AND event_time >= {_instant("active_ms")})
FROM events
PREWHERE organization_id = {{{ORGANIZATION}:String}}
    AND event_time >= fromUnixTimestamp({{start:Int64}}) AND event_time < fromUnixTimestamp({{end:Int64}})
    AND (event_time < {_instant("before_end_ms")} OR event_time >= {_instant("active_ms")})
WHERE {_where(query)}
"""  # noqa: S608 - our own text
    return Statement(sql, parameters)


def compile_tops(query: RealtimeQuery, start: datetime, end: datetime, *, currency: str) -> Statement:
    """Ask for (dimension, value, clicks, conversions, revenue) of each list, in order."""
    parameters = _parameters(query, start, end) | {"currency": currency, "top_limit": query.top_limit}
    lists = [_top_sql(query, name) for name in TOP_DIMENSIONS]
    return Statement(" UNION ALL ".join(lists), parameters)


def _top_sql(query: RealtimeQuery, dimension: str) -> str:
    return f"""(
SELECT '{dimension}', {DIMENSIONS[dimension].expression} AS item, countIf(event_type = 'click') AS clicks,
    countIf(is_conversion = 1) AS conversions,
    sumIf(
        toDecimal128(ifNull(value, 0), 6),
        (is_conversion = 1 OR is_adjustment = 1) AND currency = {{currency:String}}
    )
FROM events
PREWHERE organization_id = {{{ORGANIZATION}:String}}
    AND event_time >= fromUnixTimestamp({{start:Int64}}) AND event_time < fromUnixTimestamp({{end:Int64}})
WHERE {_where(query)}
GROUP BY item HAVING clicks > 0 ORDER BY clicks DESC, conversions DESC, item LIMIT {{top_limit:UInt32}}
)"""  # noqa: S608 - our own text


def traffic_of(window: Window, rows: Rows) -> Traffic:
    """Fold the rows of ``compile_minutes``."""
    found = [_Row(*row) for row in rows.rows]
    today = [row for row in found if not row.at or row.at >= _seconds(window.midnight)]
    revenue = _by_currency(today)
    currency = _most_used(today)
    minutes = [window.minute - count * _MINUTE for count in range(TIMELINE_MINUTES)]
    by_minute = {at: list(rows) for at, rows in groupby(sorted(found, key=lambda row: row.at), lambda row: row.at)}
    before = range(_seconds(window.before_start), _seconds(window.hour_start - _MINUTE))
    return Traffic(
        tuple((minute, _sum(by_minute.get(_seconds(minute), ()), currency)) for minute in minutes),
        sum(row.clicks for row in found if row.at in before),
        _sum(today, currency),
        currency,
        {code: amount for code, amount in sorted(revenue.items()) if code != currency and amount},
    )


def change_of(traffic: Traffic, edge_clicks: int) -> float | None:
    """Return how many percent more clicks the last hour has than the one before."""
    before = traffic.clicks_before + edge_clicks
    clicks = sum(line.clicks for _, line in traffic.timeline)
    return (clicks - before) * 100 / before if before else None


def tops_of(rows: Rows) -> tuple[Top, ...]:
    """Read the lists of ``compile_tops``."""
    items: dict[str, list[tuple[str, Line]]] = {name: [] for name in TOP_DIMENSIONS}
    for name, value, clicks, conversions, revenue in rows.rows:
        items[name].append((value, Line(clicks, conversions, revenue)))
    for found in items.values():
        # The parts of a UNION come in any order; within one, the order is kept, but nothing promises it.
        found.sort(key=lambda item: (-item[1].clicks, -item[1].conversions, item[0].encode()))
    return tuple(Top(name, tuple(found)) for name, found in items.items())


@dataclass(frozen=True, slots=True)
class _Row:
    at: int
    currency: str
    clicks: int
    conversions: int
    revenue: Decimal


def _by_currency(rows: Sequence[_Row]) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = {}
    for row in rows:
        if row.currency:
            amounts[row.currency] = amounts.get(row.currency, Decimal(0)) + row.revenue
    return amounts


def _most_used(rows: Sequence[_Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        if row.currency:
            counts[row.currency] = counts.get(row.currency, 0) + row.conversions
    return min(counts, key=lambda code: (-counts[code], code), default="")


def _sum(rows: Iterable[_Row], currency: str) -> Line:
    found = list(rows)
    return Line(
        sum(row.clicks for row in found),
        sum(row.conversions for row in found),
        sum((row.revenue for row in found if row.currency == currency), Decimal(0)),
    )


def _parameters(query: RealtimeQuery, start: datetime, end: datetime) -> dict[str, Any]:
    parameters = {ORGANIZATION: query.organization_id, "start": _seconds(start), "end": _seconds(end)}
    return parameters | ({"campaign": query.campaign_id} if query.campaign_id else {})


def _where(query: RealtimeQuery) -> str:
    conditions = ([] if query.includes_bots else ["is_bot = 0"]) + (
        ["campaign_id = {campaign:String}"] if query.campaign_id else []
    )
    return " AND ".join(conditions) or "1"


def _instant(name: str) -> str:
    return f"fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
