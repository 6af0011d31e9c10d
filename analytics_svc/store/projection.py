"""What there is to say about the reading as a whole, and how long it is kept, in ClickHouse."""

from collections.abc import Collection, Mapping
from datetime import date

from svc_runtime.clickhouse import ClickHouse, insert_rows, select

_RETENTION_COLUMNS = {"organization_id": "String", "revision": "UInt64", "days": "UInt32"}


class ClickHouseProjection:
    """``ReadingFacts``, ``ReadingMonths`` and ``RetentionStore`` on the tables ``events`` and ``retentions``."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def counts_by_enrichment_version(self) -> Mapping[int, int]:
        """See ``ReadingFacts.counts_by_enrichment_version``."""
        rows = await select(
            self._clickhouse, "SELECT enrichment_version, count() FROM events GROUP BY enrichment_version"
        )
        return {row[0]: row[1] for row in rows}

    async def months(self, organization_id: str) -> Collection[date]:
        """See ``ReadingMonths.months``."""
        own = "organization_id = {scope:String}" if organization_id else "1"
        rows = await select(
            self._clickhouse,
            f"SELECT DISTINCT toYYYYMM(event_time) FROM events WHERE {own}",  # noqa: S608 - our own text
            {"scope": organization_id},
        )
        return {date(row[0] // 100, row[0] % 100, 1) for row in rows}

    async def put_retention(self, organization_id: str, days: int) -> None:
        """See ``RetentionStore.put_retention``. One process writes: nobody takes the next revision in between."""
        rows = await select(
            self._clickhouse,
            "SELECT max(revision) FROM retentions WHERE organization_id = {organization:String}",
            {"organization": organization_id},
        )
        await insert_rows(self._clickhouse, "retentions", _RETENTION_COLUMNS, [[organization_id, rows[0][0] + 1, days]])

    async def retention_days(self) -> Mapping[str, int]:
        """See ``RetentionStore.retention_days``."""
        rows = await select(self._clickhouse, "SELECT organization_id, days FROM retentions FINAL WHERE days > 0")
        return {row[0]: row[1] for row in rows}
