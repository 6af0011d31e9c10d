"""What is too old leaves the reading, in ClickHouse: whole months as files, the rest row by row."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from svc_runtime.clickhouse import ClickHouse
from svc_runtime.logs import get_logger

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_EVERYBODY = ""
_AT_ONCE = {"alter_sync": "1", "mutations_sync": "1", "lightweight_deletes_sync": "1"}
_DAY = "toDate({}, 'UTC')"
_TABLES: Mapping[str, str] = {
    "events": _DAY.format("event_time"),
    "rollup_minute": _DAY.format("minute"),
    "rollup_day": "day",
    "rollup_unique": _DAY.format("time"),
    "identity_edges": "day",
}
"""By table with a partition for each month, the day of a row."""
_KEYS = ("click_keys", "reference_keys")
"""Tables with a partition for each year. A row too many in them does no harm: only whole years leave."""
_log = get_logger(__name__)


class ClickHouseExpiry:
    """``ExpiryStore`` on ``events``, its roll-ups and its keys."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def expire(self, cuts: Mapping[str, datetime]) -> int:
        """See ``ExpiryStore.expire``."""
        return await self._clickhouse.run(lambda client: expire(client, cuts))

    async def tier(self, volume: str, after_days: int) -> None:
        """See ``ExpiryStore.tier``."""
        if self._clickhouse.dsn.is_embedded:
            if volume:
                _log.warning("an embedded engine has no volumes: events stay where they are", volume=volume)
            return
        await self._clickhouse.run(lambda client: tier(client, volume, after_days))


def expire(client: "Client", cuts: Mapping[str, datetime]) -> int:
    """Drop the rows of days before each organisation's cut (``''``: of everybody else's); return how many events.

    Each table is looked at for itself, so whatever a crash has left is done by the next call.
    """
    days = {name: cut.astimezone(UTC).date() for name, cut in cuts.items()}
    before = _count(client, "events", "1", {})
    for table, day in _TABLES.items():
        _drop_months(client, table, min(days.values()))
        for where, values in _expired(days, day):
            if _count(client, table, where, values):
                client.command(f"DELETE FROM {table} WHERE {where}", parameters=values, settings=_AT_ONCE)  # noqa: S608 - our own text
    for table in _KEYS:
        _drop_years(client, table, min(days.values()))
    return before - _count(client, "events", "1", {})


def tier(client: "Client", volume: str, after_days: int) -> None:
    """Let events go to another volume of the table's storage policy when they are so old; '': nowhere any more."""
    has_rule = "TO VOLUME" in str(client.query(_ENGINE).result_rows[0][0])
    if volume:
        name = volume.replace("\\", "\\\\").replace("'", "\\'")
        client.command(
            f"ALTER TABLE events MODIFY TTL toDateTime(event_time) + INTERVAL {int(after_days)} DAY TO VOLUME '{name}'",
            # What is there already goes when it is merged next: not all at once.
            settings={"materialize_ttl_after_modify": "0"},
        )
    elif has_rule:
        client.command("ALTER TABLE events REMOVE TTL")


_ENGINE = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'events'"


def _expired(days: Mapping[str, date], day: str) -> list[tuple[str, dict[str, object]]]:
    own = sorted(name for name in days if name != _EVERYBODY)
    found: list[tuple[str, dict[str, object]]] = [
        (f"organization_id = {{name:String}} AND {day} < {{cut:Date}}", {"name": name, "cut": days[name]})
        for name in own
    ]
    others = f"organization_id NOT IN {{names:Array(String)}} AND {day} < {{cut:Date}}"
    return [*found, (others, {"names": own, "cut": days[_EVERYBODY]})]


def _drop_months(client: "Client", table: str, cut: date) -> None:
    for partition in _partitions(client, table):
        if partition < f"{cut:%Y%m}":
            client.command(f"ALTER TABLE {table} DROP PARTITION {int(partition)}", settings=_AT_ONCE)


def _drop_years(client: "Client", table: str, cut: date) -> None:
    for partition in _partitions(client, table):
        if int(partition) < cut.year:
            client.command(f"ALTER TABLE {table} DROP PARTITION {int(partition)}", settings=_AT_ONCE)


def _partitions(client: "Client", table: str) -> list[str]:
    rows = client.query(
        "SELECT DISTINCT partition_id FROM system.parts"
        " WHERE database = currentDatabase() AND table = {table:String} AND active",
        parameters={"table": table},
    ).result_rows
    # Patch parts have ids of another form and leave with their partition.
    return sorted(row[0] for row in rows if row[0].isdigit())


def _count(client: "Client", table: str, where: str, values: Mapping[str, object]) -> int:
    rows = client.query(f"SELECT count() FROM {table} WHERE {where}", parameters=dict(values)).result_rows  # noqa: S608 - our own text
    return int(rows[0][0])
