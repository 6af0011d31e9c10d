"""A month of the reading, made again beside the one that is there, which then takes its place."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from analytics_svc.identity.end import EndHasher
from analytics_svc.mappings.mapping import ActiveMappings
from analytics_svc.operation import Scope
from analytics_svc.projection.enricher import Enricher
from analytics_svc.store import edges, rollups, settle
from analytics_svc.store.connect import cause_of, translate
from analytics_svc.store.derive import Derived, Deriver
from analytics_svc.store.intents import close_intent, open_intent
from analytics_svc.store.partitions import condition_of, make_like, replace_month, values_of
from analytics_svc.store.verdicts import judge_month
from svc_runtime.clickhouse import ClickHouse, Dsn, open_client
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_NO_DEDUPLICATION = {"insert_deduplicate": "0"}
_STATEMENT_SECONDS = 3600
# Months are large: what does not fit into memory goes to the disk, and queries go first.
_SETTINGS = {
    "max_insert_threads": "1",
    "max_bytes_before_external_group_by": str(2**30),
    "max_bytes_before_external_sort": str(2**30),
    "os_thread_priority": "10",
}
_log = get_logger(__name__)


@contextlib.asynccontextmanager
async def open_makers(
    dsn: Dsn,
    enricher: Enricher,
    active_mappings: Callable[[], Awaitable[ActiveMappings]],
    retention: Callable[[], Awaitable[Mapping[str, datetime]]],
    *,
    count: int,
    hasher: EndHasher | None = None,
) -> AsyncIterator[Sequence["ClickHouseMonthMaker"]]:
    """Hold ``count`` makers, each with a thread and a connection, for the time of the block.

    ``active_mappings`` is asked for every batch; ``retention``, for every month, gives the instants before which
    nothing is kept, by organisation, '' for those that have none of their own. Without a ``hasher`` no edges are kept.
    """
    async with contextlib.AsyncExitStack() as stack:
        makers = []
        for number in range(count):
            clickhouse = ClickHouse(dsn, open_client=_open_client, translate=translate, name="rebuild")
            stack.push_async_callback(clickhouse.close)
            deriver = Deriver(dsn, enricher, prefix=f"made_{number}")
            name = f"made_{number}"
            makers.append(
                ClickHouseMonthMaker(clickhouse, deriver, active_mappings, retention, name=name, hasher=hasher)
            )
        yield makers


class ClickHouseMonthMaker:
    """``MonthMaker`` on tables whose names begin with ``name``.

    ``…_own`` has rows as they are of their own, ``…_settled`` the same with their sessions and clicks, ``…_rollup_*``
    what these count for, ``…_identity_edges`` whom they name. Whatever a killed process has left in them is thrown away
    by ``begin``.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        deriver: Deriver,
        active_mappings: Callable[[], Awaitable[ActiveMappings]],
        retention: Callable[[], Awaitable[Mapping[str, datetime]]],
        *,
        name: str,
        hasher: EndHasher | None = None,
    ) -> None:
        self._clickhouse = clickhouse
        self._deriver = deriver
        self._active_mappings = active_mappings
        self._retention = retention
        self._hasher = hasher
        self._tables = _Tables(name)
        self._scope = Scope(date(1970, 1, 1))
        self._begin_ms = 0
        self._settled_block = 0

    async def begin(self, scope: Scope) -> None:
        """See ``MonthMaker.begin``."""

        def work(client: "Client") -> None:
            self._deriver.prepare(client)
            self._tables.make(client)
            self._begin_ms = int(client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])

        self._scope = scope
        await self._clickhouse.run(work)

    async def derive(self, batches: Sequence[bytes], event_count: int) -> None:
        """See ``MonthMaker.derive``."""
        await self._derive(batches, event_count)
        staged, own = self._tables.staged, self._tables.own
        await self._clickhouse.run(lambda client: _insert(client, own, f"SELECT * FROM {staged}"))  # noqa: S608 - ours

    async def settle(self) -> None:
        """See ``MonthMaker.settle``."""
        cuts = await self._retention()

        def work(client: "Client") -> None:
            # What comes later into earlier months is not looked at by settling.
            self._settled_block = int(client.query("SELECT max(_block_number) FROM events").result_rows[0][0])
            settle.settle_month(client, self._tables.own, self._tables.settled, self._scope)
            drop_expired(client, self._tables.settled, cuts)
            rollups.add(client, self._tables.settled, prefix=self._tables.prefix)
            if self._hasher:
                edges.keep_days(client, self._tables.settled, self._hasher, target=self._tables.edges)

        await self._clickhouse.run(work)

    async def missing(self, mark: int) -> tuple[Collection[datetime], int]:
        """See ``MonthMaker.missing``. Rows are only ever added: later ones have higher block numbers."""

        def work(client: "Client") -> tuple[Collection[datetime], int]:
            # Asked first: what comes while we look is looked at again.
            highest = int(client.query("SELECT max(_block_number) FROM events").result_rows[0][0])
            where = f"{condition_of(self._scope)} AND _block_number > {mark:d}"
            days = client.query(
                f"SELECT DISTINCT toDate(event_time, 'UTC') FROM events WHERE {where}",  # noqa: S608 - our own text
                parameters=values_of(self._scope),
            ).result_rows
            return {minute for (day,) in days for minute in self._missing_of(client, day, where)}, highest

        return await self._clickhouse.run(work)

    def _missing_of(self, client: "Client", day: date, where: str) -> list[datetime]:
        """Look at one day: its ids fit into memory."""
        of_day = "toDate(event_time, 'UTC') = {day:Date}"
        rows = client.query(
            "SELECT DISTINCT toUnixTimestamp(toStartOfMinute(event_time)) FROM events"  # noqa: S608 - our own text
            f" WHERE {where} AND {of_day}"
            f" AND event_id NOT IN (SELECT event_id FROM {self._tables.own} WHERE {of_day})",
            parameters={**values_of(self._scope), "day": day},
        ).result_rows
        return [datetime.fromtimestamp(row[0], UTC) for row in rows]

    async def add(self, batches: Sequence[bytes], event_count: int) -> None:
        """See ``MonthMaker.add``."""
        await self._derive(batches, event_count)
        await self._clickhouse.run(self._add)

    def _add(self, client: "Client") -> None:
        staged, own, settled = self._tables.staged, self._tables.own, self._tables.settled
        known = (
            f"SELECT event_id FROM {own} WHERE event_time >= (SELECT min(event_time) FROM {staged})"  # noqa: S608 - ours
            f" AND event_time <= (SELECT max(event_time) FROM {staged})"
        )
        client.command(f"ALTER TABLE {staged} DELETE WHERE event_id IN ({known})", settings={"mutations_sync": "1"})
        if _count(client, staged):
            organization_ids, days = settle.settle_late(client, staged, settled, self._scope)
            _insert(client, own, f"SELECT * FROM {staged}")  # noqa: S608 - one of our tables
            rollups.recount(client, organization_ids, days, events=settled, prefix=self._tables.prefix)
            if self._hasher:
                edges.keep_rows(client, staged, self._hasher, target=self._tables.edges)

    async def switch(self, to_come: Collection[date]) -> int:
        """See ``MonthMaker.switch``."""
        return await self._clickhouse.run(lambda client: self._switch(client, to_come))

    def _switch(self, client: "Client", to_come: Collection[date]) -> int:
        tables, scope = self._tables, self._scope
        count = _count(client, tables.settled)
        for organization_id, days in judge_month(client, tables.settled, scope, self._begin_ms).items():
            # Verdicts that came while the month was made.
            rollups.recount(client, [organization_id], days, events=tables.settled, prefix=tables.prefix)
        intent = open_intent(client, *self._touched(client))
        replace_month(client, "events", tables.settled, scope)
        for rollup in rollups.ROWS:
            replace_month(client, rollup, f"{tables.prefix}{rollup}", scope)
        replace_month(client, edges.TABLE, tables.edges, scope)
        if self._hasher:
            # Now that the month's edges are in their place: those of the clicks that its conversions refer to, and of
            # those that whatever came since its settling refers to.
            since = f"(SELECT * FROM events WHERE _block_number > {self._settled_block:d})"  # noqa: S608 - our own text
            for conversions in (tables.settled, since):
                edges.keep_clicks_of(client, conversions, self._hasher)
        close_intent(client, intent)
        settle.reconcile_month(client, tables.settled, scope, to_come=to_come, since_block=self._settled_block)
        tables.drop(client)
        return count

    def _touched(self, client: "Client") -> tuple[Sequence[str], Sequence[date]]:
        """Return whose days, before or after, are of the scope."""
        rows = " UNION ALL ".join(
            f"SELECT organization_id, event_time FROM {table} WHERE {condition_of(self._scope)}"  # noqa: S608 - ours
            for table in ("events", self._tables.settled)
        )
        organization_ids, days = client.query(
            "SELECT groupUniqArray(toString(organization_id)), groupUniqArray(toDate(event_time, 'UTC'))"  # noqa: S608
            f" FROM ({rows})",
            parameters=values_of(self._scope),
        ).result_rows[0]
        return organization_ids, days

    async def resettle(self, scope: Scope) -> None:
        """See ``MonthMaker.resettle``."""
        await self._clickhouse.run(lambda client: settle.resettle_month(client, scope))

    async def _derive(self, batches: Sequence[bytes], event_count: int) -> None:
        """Put the events' rows, of their own, into ``staged``."""
        mappings, deriver = await self._active_mappings(), self._deriver
        try:
            derived = await self._staged(lambda client, staged: deriver.derive(client, batches, staged, mappings))
        except Exception as error:  # noqa: BLE001 - the engine, or a rule that one event of the batch breaks
            _log.warning("a batch is read event by event", error=cause_of(error), event_count=event_count)
            derived = await self._staged(
                lambda client, staged: deriver.derive_one_by_one(client, batches, staged, mappings)
            )
        if derived.event_count != event_count:
            # Going on would lose events without a word.
            raise UnavailableError(f"a page of {event_count} events was read as {derived.event_count}")

    async def _staged(self, derive: "Callable[[Client, str], Derived]") -> Derived:
        staged = self._tables.staged

        def work(client: "Client") -> Derived:
            client.command(f"TRUNCATE TABLE {staged}")
            return derive(client, staged)

        return await self._clickhouse.run(work)


class _Tables:
    """Names, by what is in them."""

    def __init__(self, name: str) -> None:
        self.staged = f"{name}_staged"
        self.own = f"{name}_own"
        self.settled = f"{name}_settled"
        self.prefix = f"{name}_"
        """Before the names of the roll-ups."""
        self.edges = f"{name}_{edges.TABLE}"

    def make(self, client: "Client") -> None:
        for name, table in self._like().items():
            make_like(client, name, table)
        client.command(f"CREATE OR REPLACE TABLE {self.staged} AS events ENGINE = Memory")

    def drop(self, client: "Client") -> None:
        for name in (*self._like(), self.staged):
            client.command(f"DROP TABLE IF EXISTS {name} SYNC")

    def _like(self) -> dict[str, str]:
        counts = {f"{self.prefix}{rollup}": rollup for rollup in rollups.ROWS}
        return {self.own: "events", self.settled: "events", self.edges: edges.TABLE, **counts}


def _open_client(dsn: Dsn) -> "Client":
    return open_client(dsn, name="trellis-rebuild", settings=_SETTINGS, statement_seconds=_STATEMENT_SECONDS)


def drop_expired(client: "Client", table: str, cuts: Mapping[str, datetime]) -> None:
    """Delete what is older than the reading keeps: ``cuts`` by organisation, '' for those that have none."""
    own = sorted(name for name in cuts if name)
    times = [int(cuts[name].timestamp() * 1000) for name in own]
    parameters = {"own": own, "times": times, "other": int(cuts[""].timestamp() * 1000)}
    where = (
        "toUnixTimestamp64Milli(event_time)"
        " < transform(toString(organization_id), {own:Array(String)}, {times:Array(Int64)}, {other:Int64})"
    )
    if client.query(f"SELECT 1 FROM {table} WHERE {where} LIMIT 1", parameters=parameters).result_rows:  # noqa: S608 - ours
        client.command(f"DELETE FROM {table} WHERE {where}", parameters=parameters)  # noqa: S608 - one of our tables


def _insert(client: "Client", table: str, rows: str) -> None:
    client.command(f"INSERT INTO {table} {rows}", settings=_NO_DEDUPLICATION)


def _count(client: "Client", table: str) -> int:
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])  # noqa: S608 - one of our tables
