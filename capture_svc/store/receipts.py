# ruff: noqa: S608 - statements are put together of constants; values are bound
"""Receipts on ClickHouse: the table ``batches``."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from capture_svc.batch import Settlement
from capture_svc.store import JournalHead, SettledBatch, Totals
from capture_svc.store.conditions import EPOCH, Where, aware, instant, milliseconds, sums
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

_TIME = "DateTime64(3, 'UTC')"
_COLUMNS = {
    "journal_id": "LowCardinality(String)",
    "sequence": "UInt64",
    "last_sequence": "UInt64",
    "organization_id": "LowCardinality(String)",
    "received": "Int64",
    "stored": "Int64",
    "duplicates": "Int64",
    "quarantined": "Int64",
    "dropped": "Int64",
    "batch_stored": "UInt64",
    "batch_bytes": "UInt64",
    "first_event_time": _TIME,
    "last_event_time": _TIME,
    "settle_time": _TIME,
}
_BATCH = (
    "journal_id, sequence, last_sequence, batch_stored, batch_bytes, first_event_time, last_event_time, settle_time"
)


_SETTLED_FOR_SURE = timedelta(hours=1)
"""No receipt says a settle time longer ago than this when it is stored: the time is taken as it is sent."""


class ClickHouseReceiptStore:
    """``ReceiptStore`` on the table ``batches``."""

    def __init__(self, writer: ClickHouse, reader: ClickHouse) -> None:
        self._writer = writer
        self._reader = reader
        self._summed: dict[tuple[str, str], Totals] = {}
        self._summed_until = EPOCH
        self._summing = asyncio.Lock()

    async def insert(self, settlements: Sequence[Settlement]) -> None:
        """See ReceiptStore. One block, so all or none."""
        rows = [row for settlement in settlements for row in _rows(settlement)]
        token = settlements[0].token + (f"+{settlements[-1].sequence}" if len(settlements) > 1 else "")
        await insert_rows(self._writer, "batches", _COLUMNS, rows, token=token)

    async def head(self, journal_id: str) -> JournalHead | None:
        """See ReceiptStore."""
        rows = await select(
            self._reader,
            "SELECT sequence, last_sequence, settle_time FROM batches WHERE journal_id = {journal:String}"
            " ORDER BY journal_id DESC, sequence DESC LIMIT 1",
            {"journal": journal_id},
        )
        return JournalHead(rows[0][0], rows[0][1], aware(rows[0][2])) if rows else None

    async def heads(self, since: datetime | None = None) -> Mapping[str, JournalHead]:
        """See ReceiptStore."""
        where = Where().add("1")
        if since is not None:
            where.add("settle_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')", since=milliseconds(since))
        rows = await select(
            self._reader,
            f"SELECT journal_id, max(sequence), max(last_sequence), max(settle_time) FROM batches WHERE {where}"
            " GROUP BY journal_id",
            where.values,
        )
        return {row[0]: JournalHead(row[1], row[2], aware(row[3])) for row in rows}

    async def positions_at(self, journal_ids: Sequence[str], instant: datetime) -> Mapping[str, int]:
        """See ReceiptStore."""
        rows = await select(
            self._reader,
            "SELECT journal_id, max(last_sequence) FROM batches WHERE journal_id IN {journals:Array(String)}"
            " AND settle_time <= fromUnixTimestamp64Milli({instant:Int64}, 'UTC') GROUP BY journal_id",
            {"journals": list(journal_ids), "instant": milliseconds(instant)},
        )
        return dict.fromkeys(journal_ids, 0) | dict(sums(rows))

    async def batches_after(self, positions: Mapping[str, int], *, limit: int) -> Sequence[SettledBatch]:
        """See ReceiptStore. One ordered read per journal, each of which ends at its limit."""
        values: dict[str, Any] = {}
        parts = []
        for index, (journal_id, position) in enumerate(positions.items()):
            parts.append(
                f"SELECT * FROM (SELECT {_BATCH} FROM batches WHERE journal_id = {{journal{index}:String}}"
                f" AND last_sequence > {{after{index}:UInt64}} ORDER BY sequence LIMIT 1 BY sequence LIMIT {limit})"
            )
            values |= {f"journal{index}": journal_id, f"after{index}": position}
        rows = await select(self._reader, " UNION ALL ".join(parts), values) if parts else []
        found = [SettledBatch(*row[:5], *(aware(time) for time in row[5:])) for row in rows]
        return sorted(found, key=lambda batch: (batch.journal_id, batch.sequence))

    async def totals(self, organization_id: str | None) -> Sequence[Totals]:
        """See ReceiptStore.

        Receipts of some time ago change no more: their sums are kept, and only what came since is looked at.
        """
        await self._advance()
        where = _of(organization_id).add(
            "settle_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')", since=milliseconds(self._summed_until)
        )
        sums = {key: total for key, total in self._summed.items() if organization_id in (None, key[0])}
        for total in await self._totals(where):
            key = (total.organization_id, total.journal_id)
            sums[key] = total if key not in sums else sums[key] + total
        return list(sums.values())

    async def _advance(self) -> None:
        """Take what is old enough into the sums that are kept."""
        async with self._summing:
            until = datetime.now(UTC) - _SETTLED_FOR_SURE
            if until - self._summed_until < _SETTLED_FOR_SURE:
                return
            where = Where().add(
                "settle_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
                " AND settle_time < fromUnixTimestamp64Milli({until:Int64}, 'UTC')",
                since=milliseconds(self._summed_until),
                until=milliseconds(until),
            )
            found = await self._totals(where)
            for total in found:
                key = (total.organization_id, total.journal_id)
                self._summed[key] = total if key not in self._summed else self._summed[key] + total
            self._summed_until = instant(milliseconds(until))

    async def _totals(self, where: Where) -> list[Totals]:
        rows = await select(
            self._reader,
            "SELECT organization_id, journal_id, sum(received), sum(stored), sum(duplicates), sum(quarantined),"
            f" max(last_sequence) FROM batches WHERE {where} GROUP BY organization_id, journal_id",
            where.values,
        )
        return [Totals(*row) for row in rows]

    async def received_between(
        self, spans: Mapping[str, tuple[int, int]], organization_id: str | None
    ) -> Mapping[tuple[str, str], int]:
        """See ReceiptStore."""
        if not spans:
            return {}
        where, alternatives = _of(organization_id), []
        for index, (journal_id, (after, upto)) in enumerate(spans.items()):
            alternatives.append(
                f"journal_id = {{journal{index}:String}} AND sequence > {{after{index}:UInt64}}"
                f" AND last_sequence <= {{upto{index}:UInt64}}"
            )
            where.values |= {f"journal{index}": journal_id, f"after{index}": after, f"upto{index}": upto}
        where.add(f"({' OR '.join(alternatives)})")
        rows = await select(
            self._reader,
            f"SELECT journal_id, organization_id, sum(received) FROM batches WHERE {where}"
            " GROUP BY journal_id, organization_id",
            where.values,
        )
        return {(row[0], row[1]): row[2] for row in rows}


def _of(organization_id: str | None) -> Where:
    if organization_id is None:
        return Where().add("1")
    return Where().add("organization_id = {organization:String}", organization=organization_id)


def _rows(settlement: Settlement) -> list[list[Any]]:
    return [
        [
            receipt.journal_id,
            receipt.sequence,
            receipt.last_sequence,
            receipt.organization_id,
            receipt.received,
            receipt.stored,
            receipt.duplicates,
            receipt.quarantined,
            receipt.dropped,
            settlement.stored_count,
            settlement.byte_count,
            settlement.first_event_time,
            settlement.last_event_time,
            settlement.settle_time,
        ]
        for receipt in settlement.receipts
    ]
