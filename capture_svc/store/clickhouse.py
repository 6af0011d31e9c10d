# ruff: noqa: S608 - statements are put together of constants; values are bound
"""The event store on ClickHouse: journal bytes in, journal bytes out, decoded by the engine alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any
from uuid import UUID

from capture_svc.scan import Scan, ScanKey, ScanPage
from capture_svc.store import Claim, EventFilter, EventKey, EventPage, EventRange, Orphans
from capture_svc.store.conditions import (
    V7_AROUND,
    Where,
    aware,
    fitting,
    milliseconds,
    of_filter,
    of_organization,
    of_ranges,
    of_scan,
    sums,
    time_of_v7,
)
from capture_svc.wire import delimited, split, undelimited
from svc_runtime.clickhouse import ClickHouse, insert_rows, select
from trellis.capture.v1 import event_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MIGRATIONS = resources.files("capture_svc.store") / "migrations"
EVENT_FIELDS = tuple(field.name for field in event_pb2.Event.DESCRIPTOR.fields)
"""Columns that a batch fills: the fields of Event."""

_EXPRESSIONS = {
    "event_id": "toString(event_id) AS event_id",
    "event_time_ms": "toUnixTimestamp64Milli(event_time) AS event_time_ms",
}
# Every field of Event under its name: what `ProtobufList` turns into the bytes of an Event.
_EVENT = ", ".join(_EXPRESSIONS.get(name, name) for name in EVENT_FIELDS)
_RECENT = timedelta(days=1)
_NEWEST_FIRST = "ORDER BY events.event_time DESC, events.event_id DESC"
_SCAN_ORDER = "ORDER BY events.organization_id, events.event_time, events.event_id"
# What the columns that are not measured take up in an event, about.
_SMALL_COLUMNS_BYTES = 300
_CLAIM_COLUMNS = {
    "event_id": "UUID",
    "journal_id": "LowCardinality(String)",
    "sequence": "UInt64",
    "is_direct": "Bool",
    "claim_time": "DateTime64(3, 'UTC')",
}


class ClickHouseEventStore:
    """``EventStore`` on the tables ``events`` and ``claims``. Writes and reads have threads of their own."""

    def __init__(self, writer: ClickHouse, reader: ClickHouse) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, events: bytes, *, token: str) -> None:
        """See EventStore."""
        block = delimited(events)

        def work(client: "Client") -> None:
            client.raw_insert(
                "events",
                column_names=EVENT_FIELDS,
                insert_block=block,
                fmt="ProtobufList",
                settings={"insert_deduplication_token": token},
            )

        await self._writer.run(work)

    async def stored_sequences(self, span: EventRange) -> set[int]:
        """See EventStore."""
        where = of_ranges([span])
        rows = await select(self._reader, f"SELECT DISTINCT sequence FROM events WHERE {where}", where.values)
        return {row[0] for row in rows}

    async def claim(self, claims: Sequence[Claim], *, token: str) -> None:
        """See EventStore."""
        rows = [[UUID(c.event_id), c.journal_id, c.sequence, c.is_direct, c.claim_time] for c in claims]
        await insert_rows(self._writer, "claims", _CLAIM_COLUMNS, rows, token=token)

    async def claims_of(self, event_ids: Sequence[str]) -> Mapping[str, Sequence[Claim]]:
        """See EventStore. With several ClickHouse replicas it takes reads that see every committed insert."""
        rows = await select(
            self._reader,
            "SELECT toString(event_id), journal_id, sequence, is_direct, claim_time FROM claims"
            " WHERE claims.event_id IN {ids:Array(UUID)} ORDER BY claims.event_id, _block_number, _block_offset",
            {"ids": list(event_ids)},
        )
        found: dict[str, list[Claim]] = {}
        for event_id, journal_id, sequence, is_direct, claim_time in rows:
            claim = Claim(event_id, journal_id, sequence, is_direct, aware(claim_time))
            found.setdefault(event_id, []).append(claim)
        return found

    async def existing(self, organization_id: str, event_ids: Sequence[str]) -> set[tuple[str, str, int]]:
        """See EventStore."""
        where = of_organization(organization_id).add("events.event_id IN {ids:Array(UUID)}", ids=list(event_ids))
        places = f"SELECT toString(events.event_id), journal_id, sequence FROM events WHERE {where}"
        rows = await select(self._reader, places, where.values)
        return {(row[0], row[1], row[2]) for row in rows}

    async def orphans(self, journal_id: str, after: int, *, since: datetime) -> Sequence[Orphans]:
        """See EventStore."""
        rows = await select(
            self._reader,
            "SELECT organization_id, count(), min(sequence), max(sequence), min(event_time), max(event_time)"
            " FROM events WHERE journal_id = {journal:String} AND sequence > {after:UInt64}"
            " AND event_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
            " GROUP BY organization_id ORDER BY organization_id",
            {"journal": journal_id, "after": after, "since": milliseconds(since)},
        )
        return [Orphans(row[0], row[1], row[2], row[3], aware(row[4]), aware(row[5])) for row in rows]

    async def get(self, organization_id: str, event_id: str) -> tuple[bytes, datetime] | None:
        """See EventStore. The id of a version 7 says its time, which spares a look at the others."""
        middle = time_of_v7(event_id)
        if middle is not None:
            near = of_organization(organization_id).add("events.event_id = {id:UUID}", id=event_id)
            found = await self._get(near.between(middle - V7_AROUND, middle + V7_AROUND))
            if found is not None:
                return found
        return await self._get(of_organization(organization_id).add("events.event_id = {id:UUID}", id=event_id))

    async def _get(self, where: Where) -> tuple[bytes, datetime] | None:
        times = await select(self._reader, f"SELECT ingest_time FROM events WHERE {where} LIMIT 1", where.values)
        if not times:
            return None
        return await self._batch(f"SELECT {_EVENT} FROM events WHERE {where} LIMIT 1", where.values), aware(times[0][0])

    async def page(
        self, organization_id: str, wanted: EventFilter, *, before: EventKey | None, limit: int, max_bytes: int
    ) -> EventPage:
        """See EventStore. The first look finds how many events fit, the second one reads just those."""
        where = of_filter(organization_id, wanted)
        if before is not None:
            where.at("<", before, name="before")
        rows = await select(
            self._reader,
            "SELECT toUnixTimestamp64Milli(event_time), toString(event_id),"
            " length(body) + length(headers) + length(target) + length(location)"
            f" FROM events WHERE {where} {_NEWEST_FIRST} LIMIT {limit + 1}",
            where.values,
        )
        count = fitting([row[2] for row in rows[:limit]], max_bytes)
        if not count:
            return EventPage(b"", None)
        # What arrived since the first look is newer than its first row.
        where.at("<=", EventKey(rows[0][0], rows[0][1]), name="first")
        events = await self._batch(
            f"SELECT {_EVENT} FROM events WHERE {where} {_NEWEST_FIRST} LIMIT {count}", where.values
        )
        last = rows[count - 1]
        return EventPage(events, EventKey(last[0], last[1]) if len(rows) > count else None)

    async def read(self, ranges: Sequence[EventRange], *, limit: int) -> bytes:
        """See EventStore."""
        where = of_ranges(ranges)
        order = ", ".join(f"{{journal{index}:String}}" for index in range(len(ranges)))
        return await self._batch(
            f"SELECT {_EVENT} FROM events WHERE {where}"
            f" ORDER BY indexOf([{order}], journal_id), sequence LIMIT {limit}",
            where.values,
        )

    async def scan(self, wanted: Scan, *, after: ScanKey | None, limit: int, max_bytes: int) -> ScanPage:
        """See EventStore. The first look finds how many events fit, the second one reads just those."""
        where = of_scan(wanted, after)
        rows = await select(
            self._reader,
            "SELECT organization_id, toUnixTimestamp64Milli(event_time), toString(event_id),"
            " length(body) + length(headers) + length(target) + length(location) + length(external_click_id)"
            f" FROM events WHERE {where} {_SCAN_ORDER} LIMIT {limit + 1}",
            where.values,
        )
        count = fitting([row[3] + _SMALL_COLUMNS_BYTES for row in rows[:limit]], max_bytes)
        if not count:
            return ScanPage(b"", 0, None, is_last=True)
        last = ScanKey(*rows[count - 1][:3])
        # Up to the last one found: what was stored since the first look may come in between, and is not for this page.
        where.upto(last)
        events = await self._batch(f"SELECT {_EVENT} FROM events WHERE {where} {_SCAN_ORDER}", where.values)
        return ScanPage(events, len(split(events)), last, is_last=count == len(rows))

    async def counts_by_month(self, organization_id: str | None) -> Mapping[datetime, int]:
        """See EventStore."""
        where = of_scan(Scan(organization_id or ""), None)
        rows = await select(
            self._reader,
            f"SELECT toYYYYMM(event_time) AS month, count() FROM events WHERE {where} GROUP BY month ORDER BY month",
            where.values,
        )
        return {datetime(row[0] // 100, row[0] % 100, 1, tzinfo=UTC): row[1] for row in rows}

    async def stored_counts(self, heads: Mapping[str, int], organization_id: str | None) -> Mapping[str, int]:
        """See EventStore.

        What is older than a day is counted by the primary key alone: no batch of those is on its way any more, but
        for the few moments in which a journal delivers after a day of silence.
        """
        if not heads:
            return {}
        where = Where() if organization_id is None else of_organization(organization_id)
        where.values |= {
            "journals": list(heads),
            "heads": list(heads.values()),
            "recent": milliseconds(datetime.now(UTC) - _RECENT),
        }
        recent = "fromUnixTimestamp64Milli({recent:Int64}, 'UTC')"
        settled = "sequence <= transform(journal_id, {journals:Array(String)}, {heads:Array(UInt64)}, toUInt64(0))"
        counts = "SELECT organization_id, count() AS number FROM events WHERE"
        old = " AND ".join([*where.conditions, f"event_time < {recent}"])
        new = " AND ".join([*where.conditions, f"event_time >= {recent}", settled])
        rows = await select(
            self._reader,
            f"SELECT organization_id, sum(number) FROM ({counts} {old} GROUP BY organization_id UNION ALL"
            f" {counts} {new} GROUP BY organization_id) GROUP BY organization_id",
            where.values,
        )
        return sums(rows)

    async def _batch(self, sql: str, values: Mapping[str, Any]) -> bytes:
        return await self._reader.run(
            lambda client: undelimited(client.raw_query(sql, parameters=dict(values), fmt="ProtobufList"))
        )
