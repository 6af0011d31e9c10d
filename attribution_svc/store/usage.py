"""Counts against caps in PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from attribution_svc.campaigns.rule import CapKind
from attribution_svc.campaigns.usage import Exchange, Usage, Window
from svc_runtime.postgres import Connection, Database

KEPT_DAYS = 40
"""Windows of hours and days are forgotten after so many days, lives of workers too."""
# A number that is not higher is a repeat, or overtaken by one.
_IS_NEW = """
INSERT INTO cap_exchanges (gateway_id, number) VALUES ($1, $2)
ON CONFLICT (gateway_id) DO UPDATE SET number = excluded.number, exchange_time = now()
WHERE cap_exchanges.number < excluded.number
RETURNING true
"""
# In the order of the key: two workers that count in the same windows wait for each other, and never in a circle.
_ADD = """
INSERT INTO cap_usage (organization_id, campaign_id, kind, period, start_time, count)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])
    AS given (organization_id, campaign_id, kind, period, start_time, count)
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (organization_id, campaign_id, kind, period, start_time)
    DO UPDATE SET count = cap_usage.count + excluded.count
"""
_ADD_VISITORS = """
WITH added AS (
    INSERT INTO cap_visitors (organization_id, campaign_id, period, start_time, visitor)
    SELECT $1, $2, $3, $4, visitor FROM unnest($5::bigint[]) AS given (visitor) ORDER BY visitor
    ON CONFLICT DO NOTHING RETURNING true
)
SELECT count(*) FROM added
"""
_TOTALS = """
SELECT coalesce(cap_usage.count, 0) AS count
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) WITH ORDINALITY
    AS given (organization_id, campaign_id, kind, period, start_time, place)
LEFT JOIN cap_usage USING (organization_id, campaign_id, kind, period, start_time)
ORDER BY given.place
"""
_FORGET = (
    "DELETE FROM cap_usage WHERE period <> 'total' AND start_time < now() - make_interval(days => $1)",
    "DELETE FROM cap_visitors WHERE period <> 'total' AND start_time < now() - make_interval(days => $1)",
    "DELETE FROM cap_exchanges WHERE exchange_time < now() - make_interval(days => $1)",
)


class PostgresUsageStore:
    """Counts of all gateways. Every method raises UnavailableError while PostgreSQL is not reachable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exchange(self, exchange: Exchange) -> list[int]:
        """Add what a worker counted, once, and return the totals of its windows in their order. All or nothing."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_IS_NEW, exchange.gateway_id, exchange.number):
                await _add(connection, exchange.usages)
            rows = await connection.fetch(_TOTALS, *_columns([usage.window for usage in exchange.usages]))
        return [row["count"] for row in rows]

    async def forget(self) -> None:
        """Drop windows and workers that are long over."""
        async with self._database.connection() as connection:
            for statement in _FORGET:
                await connection.execute(statement, KEPT_DAYS)


async def _add(connection: Connection, usages: Sequence[Usage]) -> None:
    counts = {usage.window: usage.click_count for usage in usages if usage.click_count}
    for usage in sorted(usages, key=lambda usage: usage.window):
        window = usage.window
        if window.kind == CapKind.UNIQUES.value and usage.visitors:
            key = (window.organization_id, window.campaign_id, window.period, window.start_time)
            counts[window] = await connection.fetchval(_ADD_VISITORS, *key, sorted(set(usage.visitors)))
    if counts:
        await connection.execute(_ADD, *_columns(list(counts)), list(counts.values()))


def _columns(windows: Sequence[Window]) -> tuple[list[Any], ...]:
    return (
        [window.organization_id for window in windows],
        [window.campaign_id for window in windows],
        [window.kind for window in windows],
        [window.period for window in windows],
        [window.start_time for window in windows],
    )
