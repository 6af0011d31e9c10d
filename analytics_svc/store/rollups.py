"""The roll-ups of ``events``: what one row counts for, written once for the roll-ups and for queries over events."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
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

COUNTED_COLUMNS = (
    *("organization_id", "event_time", "is_conversion", "is_adjustment", "is_bot", "user_id", "session_id"),
    *("value", "currency", "cost", "cost_currency", *DAY_DIMENSIONS),
)
"""The columns of ``events`` that a row's counts are made of."""
_SUMS = """
    count() AS events,
    countIf(event_type = 'click') AS clicks,
    countIf(is_conversion = 1) AS conversions,
    sumIf(amount, is_earning) AS revenue,
    sum(spent) AS cost
"""
_UNIQUES = f"""
    {unique("StateIf")}(user_id, user_id != '') AS users,
    {unique("StateIf")}(session_id, session_id != '') AS sessions
"""
_MONEY = "of_own_campaign, is_bot, money, cost_money"
# Low cardinality makes short keys: grouping takes a third of the time that it takes by strings.
_COUNTED = f"""
SELECT organization_id, event_time, event_type, is_conversion, is_bot, user_id, session_id,
    (is_conversion = 1 OR is_adjustment = 1) AS is_earning,
    campaign_id AS of_own_campaign,
    toDate(event_time, 'UTC') AS day,
    toStartOfHour(toDateTime(event_time, 'UTC')) AS hour,
    toStartOfMinute(toDateTime(event_time, 'UTC')) AS minute,
    toLowCardinality(if(is_earning AND isNotNull(value), currency, '')) AS money,
    toLowCardinality(if(isNotNull(cost), cost_currency, '')) AS cost_money,
    toDecimal128(ifNull(value, 0), 6) AS amount,
    toDecimal128(ifNull(cost, 0), 6) AS spent,
    {", ".join(f"toLowCardinality(ifNull(toString({name}), '')) AS of_{name}" for name in DAY_DIMENSIONS)}
"""


def minute_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of the rows of ``rollup_minute`` that the rows of ``table`` make."""
    return f"""
SELECT organization_id, minute, {_MONEY}, {_SUMS}
FROM ({_COUNTED} FROM {table} WHERE {where})
GROUP BY organization_id, minute, {_MONEY}
"""  # noqa: S608 - our own text


def day_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of the rows of ``rollup_day`` that the rows of ``table`` make."""
    sets = [f"organization_id, day, {_MONEY}{_and(name)}" for name in ("", *DAY_DIMENSIONS)]
    return f"""
SELECT organization_id, {_DIMENSION} AS dimension, day, {_VALUE} AS dimension_value, {_MONEY}, {_SUMS}
FROM ({_COUNTED} FROM {table} WHERE {where})
GROUP BY GROUPING SETS (({"), (".join(sets)}))
"""  # noqa: S608 - our own text


def unique_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of the rows of ``rollup_unique`` that the rows of ``table`` make."""
    sets = [
        *(f"organization_id, day, is_bot{_and(name)}" for name in ("", *DAY_DIMENSIONS)),
        *(f"organization_id, hour, is_bot{_and(name)}" for name in ("", *HOUR_DIMENSIONS)),
    ]
    return f"""
SELECT organization_id, {_DIMENSION} AS dimension, if(grouping(hour) = 0, 'hour', 'day') AS grain,
    if(grouping(hour) = 0, hour, toDateTime(day, 'UTC')) AS time, {_VALUE} AS dimension_value, is_bot, {_UNIQUES}
FROM ({_COUNTED} FROM {table} WHERE {where})
GROUP BY GROUPING SETS (({"), (".join(sets)}))
"""  # noqa: S608 - our own text


def campaign_unique_rows(table: str, where: str = "1") -> str:
    """Return the SELECT of those rows of ``rollup_unique`` that are by campaign, as ``unique_rows`` has them."""
    return f"""
SELECT organization_id, 'campaign_id' AS dimension, if(grouping(hour) = 0, 'hour', 'day') AS grain,
    if(grouping(hour) = 0, hour, toDateTime(day, 'UTC')) AS time, of_own_campaign AS value, is_bot, {_UNIQUES}
FROM ({_COUNTED} FROM {table} WHERE {where})
GROUP BY GROUPING SETS (
    (organization_id, day, is_bot, of_own_campaign), (organization_id, hour, is_bot, of_own_campaign)
)
"""  # noqa: S608 - our own text


def _and(name: str) -> str:
    return f", of_{name}" if name else ""


# Of the dimensions a row is grouped by one or none; the others are ''.
_DIMENSION = "multiIf(" + ", ".join(f"grouping(of_{name}) = 0, '{name}'" for name in DAY_DIMENSIONS) + ", '')"
_VALUE = "concat(" + ", ".join(f"of_{name}" for name in DAY_DIMENSIONS) + ")"
ROWS = {"rollup_minute": minute_rows, "rollup_day": day_rows, "rollup_unique": unique_rows}
"""Every roll-up and the SELECT that makes its rows."""
_SUMMED = ("rollup_minute", "rollup_day")
_DAYS = {"rollup_minute": "toDate(minute, 'UTC')", "rollup_day": "day", "rollup_unique": "toDate(time, 'UTC')"}
_EVENT_DAY = "toDate(event_time, 'UTC')"


_KEYS_OF_MONEY = "campaign_id, is_bot, currency, cost_currency"
_MERGED_SUMS = "sum(events), sum(clicks), sum(conversions), sum(revenue), sum(cost)"
# A row from which everything was moved away counts nothing.
_IS_LEFT = "HAVING sum(events) != 0"
_COMPARED = {
    "rollup_minute": (f"organization_id, minute, {_KEYS_OF_MONEY}", _MERGED_SUMS, "", _IS_LEFT),
    "rollup_day": (f"organization_id, dimension, day, value, {_KEYS_OF_MONEY}", _MERGED_SUMS, "", _IS_LEFT),
    "rollup_unique": (
        "organization_id, dimension, toString(grain), time, value, is_bot",
        f"{unique('Merge')}(users), {unique('Merge')}(sessions)",
        "REPLACE (finalizeAggregation(users) AS users, finalizeAggregation(sessions) AS sessions)",
        "",
    ),
}
"""By roll-up its key, what is left of its measures, how its events' rows are made comparable, and which keys count."""
_SAME_DAYS = "organization_id IN {organizations:Array(String)} AND %s IN {days:Array(Date)}"
_DAY = timedelta(days=1)
_FRESH = "fresh_"
_OTHERS = "others_"
_SETTINGS = {"insert_deduplicate": "0", "alter_sync": "1", "mutations_sync": "1", "lightweight_deletes_sync": "1"}


def move(client: "Client", before: str, after: str) -> None:
    """Add to the sums what the rows of the table ``after`` count for, and take off what those of ``before`` do.

    Both are tables, or SELECTs in brackets, with ``COUNTED_COLUMNS``. One insert: readers see both or neither.
    """
    for rollup in _SUMMED:
        rows = ROWS[rollup]
        taken = ", ".join(
            [f"toUInt64(-toInt64({name})) AS {name}" for name in ("events", "clicks", "conversions")]
            # Counts go round at 2^64, so what is added and taken off comes to nothing.
            + [f"-{name} AS {name}" for name in ("revenue", "cost")]
        )
        client.command(
            f"INSERT INTO {rollup} SELECT * FROM ({rows(after)}) UNION ALL SELECT * REPLACE ({taken}) FROM ({rows(before)})",  # noqa: S608, E501 - our own text
            settings=_SETTINGS,
        )


def move_campaigns(client: "Client", table: str) -> None:
    """Take the rows of a table off the sums of ``campaign_id`` and add them to those of ``new_campaign_id``.

    As ``move`` does, but counting each row once: both have the same sums.
    """
    both = f"(SELECT * REPLACE (concat(hex(campaign_id), ':', hex(new_campaign_id)) AS campaign_id) FROM {table})"  # noqa: S608 - our own text
    for rollup in _SUMMED:
        changed = {"of_own_campaign": _SIDE.format("of_own_campaign")}
        if rollup == "rollup_day":
            of_campaign = _SIDE.format("dimension_value")
            changed["dimension_value"] = f"if(dimension = 'campaign_id', {of_campaign}, dimension_value)"
        for name in ("events", "clicks", "conversions"):
            changed[name] = f"if(side = 1, toUInt64(-toInt64({name})), {name})"
        for name in ("revenue", "cost"):
            changed[name] = f"if(side = 1, -{name}, {name})"
        replaced = ", ".join(f"{value} AS {name}" for name, value in changed.items())
        client.command(
            f"INSERT INTO {rollup} SELECT * EXCEPT side REPLACE ({replaced})"  # noqa: S608 - our own text
            f" FROM (SELECT *, arrayJoin([1, 2]) AS side FROM ({ROWS[rollup](both)}))",
            settings=_SETTINGS,
        )


_SIDE = "unhex(splitByChar(':', toString({}))[side])"


def add_campaigns(client: "Client", table: str) -> None:
    """Add who is there, by campaign, of the rows of a table like ``move``'s."""
    client.command(f"INSERT INTO rollup_unique {campaign_unique_rows(table)}", settings=_SETTINGS)


def add(client: "Client", table: str, where: str = "1", *, prefix: str = "") -> None:
    """Add what the rows of ``table`` count for to every roll-up, or to those with ``prefix`` before their names."""
    for rollup, rows in ROWS.items():
        client.command(f"INSERT INTO {prefix}{rollup} {rows(table, where)}", settings=_SETTINGS)


def recount(
    client: "Client",
    organization_ids: Collection[str],
    days: Collection[date],
    *,
    events: str = "events",
    prefix: str = "",
) -> None:
    """Count these UTC days of these organisations anew from ``events``. Can be done again after a crash.

    Another table of events, and roll-ups with ``prefix`` before their names, may be given. Nobody else writes
    meanwhile. Readers see the old counts of a month's days, or the new ones.
    """
    if not organization_ids:
        return
    for month in sorted({day.replace(day=1) for day in days}):
        chosen = [day for day in days if day.replace(day=1) == month]
        for rollup in ROWS:
            _recount_month(client, rollup, month, sorted(organization_ids), sorted(chosen), events, prefix)


def recount_campaigns(
    client: "Client", organization_id: str, campaign_ids: Collection[str], days: Collection[date]
) -> None:
    """Count anew who was there by these campaigns on these UTC days, as ``recount`` does."""
    for month in sorted({day.replace(day=1) for day in days}):
        chosen = sorted(day for day in days if day.replace(day=1) == month)
        values = {"organizations": [organization_id], "days": chosen, "campaigns": sorted(campaign_ids)}
        rows = campaign_unique_rows("events", f"{_within(chosen)} AND campaign_id IN {{campaigns:Array(String)}}")
        gone = (
            f"{_SAME_DAYS % _DAYS['rollup_unique']} AND dimension = 'campaign_id'"
            " AND value IN {campaigns:Array(String)}"
        )
        _replace(client, "rollup_unique", month, rows, gone, values)


def _within(days: Sequence[date]) -> str:
    """Return the condition that an event is of these days, which rise."""
    # The range is what the key finds.
    return (
        f"{_SAME_DAYS % _EVENT_DAY} AND event_time >= toDateTime64('{days[0]} 00:00:00', 3, 'UTC')"
        f" AND event_time < toDateTime64('{days[-1] + _DAY} 00:00:00', 3, 'UTC')"
    )


def _recount_month(
    client: "Client", rollup: str, month: date, organization_ids: list[str], days: list[date], events: str, prefix: str
) -> None:
    rows, gone = ROWS[rollup](events, _within(days)), _SAME_DAYS % _DAYS[rollup]
    values = {"organizations": organization_ids, "days": days}
    _replace(client, rollup, month, rows, gone, values, prefix=prefix)


def _replace(
    client: "Client",
    rollup: str,
    month: date,
    rows: str,
    gone: str,
    values: Mapping[str, object],
    *,
    prefix: str = "",
) -> None:
    """Put ``rows`` in the place of those ``gone``.

    The month's partition is made again beside the one that is there: the same files, without the rows that are gone.
    """
    table, fresh, others = f"{prefix}{rollup}", f"{prefix}{_FRESH}{rollup}", f"{prefix}{_OTHERS}{rollup}"
    partition, parameters = f"{month:%Y%m}", dict(values)
    for name in (fresh, others):
        client.command(f"DROP TABLE IF EXISTS {name} SYNC")
        client.command(f"CREATE TABLE {name} AS {table}")
    client.command(f"INSERT INTO {fresh} {rows}", parameters=parameters, settings=_SETTINGS)
    client.command(f"ALTER TABLE {others} ATTACH PARTITION {partition} FROM {table}", settings=_SETTINGS)
    client.command(f"DELETE FROM {others} WHERE {gone}", parameters=parameters, settings=_SETTINGS)  # noqa: S608 - our own text
    client.command(f"ALTER TABLE {others} ATTACH PARTITION {partition} FROM {fresh}", settings=_SETTINGS)
    if _count(client, others):
        client.command(f"ALTER TABLE {table} REPLACE PARTITION {partition} FROM {others}", settings=_SETTINGS)
    else:
        client.command(f"ALTER TABLE {table} DROP PARTITION {partition}", settings=_SETTINGS)
    for name in (fresh, others):
        client.command(f"DROP TABLE IF EXISTS {name} SYNC")


def differences(client: "Client", where: str = "1", *, most: int = 100) -> list[Sequence[object]]:
    """Return what the roll-ups say otherwise than the events: nothing, whenever no page is being written.

    At most ``most`` rows for each roll-up and side: the roll-up's name, ``events`` or ``rollup``, the key, and the
    measures. ``where`` chooses by ``organization_id``. Reads every chosen event.
    """
    found: list[Sequence[object]] = []
    for rollup, (keys, merged, finalized, left) in _COMPARED.items():
        by_events = f"SELECT * {finalized} FROM ({ROWS[rollup]('events', where)})"  # noqa: S608 - our own text
        by_rollup = f"SELECT {keys}, {merged} FROM {rollup} WHERE {where} GROUP BY {keys} {left}"  # noqa: S608 - our own text
        for side, one, other in (("events", by_events, by_rollup), ("rollup", by_rollup, by_events)):
            found += client.query(
                f"SELECT '{rollup}', '{side}', * FROM ({one} EXCEPT {other}) LIMIT {most}"  # noqa: S608 - our own text
            ).result_rows
    return found


def _count(client: "Client", table: str) -> int:
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])  # noqa: S608 - our own text
