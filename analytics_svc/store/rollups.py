"""The roll-ups of ``events``: what one row counts for, written once for the roll-ups and for queries over events."""

from collections.abc import Collection, Iterable
from datetime import date
from typing import TYPE_CHECKING

from analytics_svc.metric import unique

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DAY_DIMENSIONS = (
    "event_type",
    "source",
    "medium",
    "channel",
    "campaign",
    "campaign_id",
    "placement",
    "country",
    "region",
    "city",
    "device_type",
    "os",
    "browser",
    "language",
    "referer_host",
)
"""The dimensions that ``rollup_day`` has; beside them '', the day as a whole."""

HOUR_DIMENSIONS = ("campaign_id",)
"""The dimensions whose unique counts ``rollup_unique`` has by hour too; beside them ''."""

_SUMS = """
    count() AS events,
    countIf(event_type = 'click') AS clicks,
    countIf(is_conversion = 1) AS conversions,
    sumIf(toDecimal128(ifNull(value, 0), 6), is_conversion = 1) AS revenue,
    sum(toDecimal128(ifNull(cost, 0), 6)) AS cost_sum
"""
_UNIQUES = f"""
    {unique("StateIf")}(user_id, user_id != '') AS users,
    {unique("StateIf")}(session_id, session_id != '') AS sessions
"""
_CURRENCY = "if(is_conversion = 1 AND isNotNull(value), currency, '')"
_COST_CURRENCY = "if(isNotNull(cost), cost_currency, '')"


def _pairs(names: Iterable[str]) -> str:
    return ", ".join(["('', '')", *(f"('{name}', ifNull(toString({name}), ''))" for name in names)])


def minute_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of the rows of ``rollup_minute`` that the rows of ``table`` make."""
    return f"""
SELECT organization_id, toStartOfMinute(toDateTime(event_time, 'UTC')) AS minute, campaign_id, is_bot,
    {_CURRENCY} AS money, {_COST_CURRENCY} AS cost_money, {_SUMS}
FROM {table} WHERE {where}
GROUP BY organization_id, minute, campaign_id, is_bot, money, cost_money
"""  # noqa: S608 - our own text


def day_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of the rows of ``rollup_day`` that the rows of ``table`` make."""
    return f"""
SELECT organization_id, pair.1 AS dimension, toDate(event_time, 'UTC') AS day, pair.2 AS dimension_value,
    campaign_id, is_bot, {_CURRENCY} AS money, {_COST_CURRENCY} AS cost_money, {_SUMS}
FROM (SELECT * FROM {table} WHERE {where})
ARRAY JOIN [{_pairs(DAY_DIMENSIONS)}] AS pair
GROUP BY organization_id, dimension, day, dimension_value, campaign_id, is_bot, money, cost_money
"""  # noqa: S608 - our own text


def unique_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of the rows of ``rollup_unique`` that the rows of ``table`` make."""
    return f"""
SELECT organization_id, part.3.1 AS dimension, part.1 AS grain, part.2 AS time, part.3.2 AS dimension_value, is_bot,
    {_UNIQUES}
FROM (SELECT * FROM {table} WHERE {where})
ARRAY JOIN arrayConcat(
    arrayMap(pair -> ('day', toStartOfDay(toDateTime(event_time, 'UTC')), pair), [{_pairs(DAY_DIMENSIONS)}]),
    arrayMap(pair -> ('hour', toStartOfHour(toDateTime(event_time, 'UTC')), pair), [{_pairs(HOUR_DIMENSIONS)}])
) AS part
GROUP BY organization_id, dimension, grain, time, dimension_value, is_bot
"""  # noqa: S608 - our own text


ROWS = {"rollup_minute": minute_rows, "rollup_day": day_rows, "rollup_unique": unique_rows}
"""Every roll-up and the SELECT that makes its rows."""
_DAYS = {"rollup_minute": "toDate(minute, 'UTC')", "rollup_day": "day", "rollup_unique": "toDate(time, 'UTC')"}


def add(client: "Client", table: str, where: str = "1", *, prefix: str = "") -> None:
    """Add what the rows of ``table`` count for to every roll-up, or to the tables with ``prefix`` before their names."""
    for rollup, rows in ROWS.items():
        client.command(f"INSERT INTO {prefix}{rollup} {rows(table, where)}", settings={"insert_deduplicate": "0"})


def recount(
    client: "Client",
    organization_ids: Collection[str],
    days: Collection[date],
    *,
    events: str = "events",
    prefix: str = "",
) -> None:
    """Count these days of these organisations anew from ``events``. Can be done again after a crash.

    Another table of events, and roll-ups with ``prefix`` before their names, may be given.
    """
    if not organization_ids or not days:
        return
    parameters = {"organizations": sorted(organization_ids), "days": sorted(days)}
    chosen = "organization_id IN {organizations:Array(String)} AND %s IN {days:Array(Date)}"
    for table, day in _DAYS.items():
        client.command(f"DELETE FROM {prefix}{table} WHERE {chosen % day}", parameters=parameters)  # noqa: S608 - our own text
    where = chosen % "toDate(event_time, 'UTC')"
    settings = {"insert_deduplicate": "0"}
    for table, rows in ROWS.items():
        client.command(f"INSERT INTO {prefix}{table} {rows(events, where)}", parameters=parameters, settings=settings)
