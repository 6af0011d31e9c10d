# ruff: noqa: S608 - statements are put together of constants; values are bound
"""The quarantine on ClickHouse: the tables ``quarantine`` and ``replays``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from capture_svc.batch import UNCLAIMED, QuarantinedEvent
from capture_svc.store import QuarantineItem, QuarantineKey, QuarantinePage, ReplayStep
from capture_svc.store.conditions import Where, aware, fitting, milliseconds
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

_TIME = "DateTime64(3, 'UTC')"
_COLUMNS = {
    "quarantine_id": "UUID",
    "organization_id": "LowCardinality(String)",
    "reason": "LowCardinality(String)",
    "quarantine_time": _TIME,
    "journal_id": "LowCardinality(String)",
    "sequence": "UInt64",
    "event_count": "UInt64",
    "event": "String",
}
_STEP_COLUMNS = {
    "quarantine_id": "UUID",
    "journal_id": "LowCardinality(String)",
    "sequence": "UInt64",
    "organization_id": "LowCardinality(String)",
    "step": "Enum8('intent' = 1, 'stored' = 2, 'duplicate' = 3, 'refused' = 4)",
    "replay_time": _TIME,
}
_DONE = "SELECT quarantine_id FROM replays WHERE step IN ('stored', 'duplicate')"
_NEWEST_FIRST = "ORDER BY quarantine_time DESC, quarantine_id DESC"


class ClickHouseQuarantineStore:
    """``QuarantineStore`` on ClickHouse."""

    def __init__(self, writer: ClickHouse, reader: ClickHouse) -> None:
        self._writer = writer
        self._reader = reader

    async def insert(self, events: Sequence[QuarantinedEvent], *, token: str) -> None:
        """See QuarantineStore."""
        rows = [
            [
                UUID(event.quarantine_id),
                event.organization_id,
                event.reason,
                event.quarantine_time,
                event.journal_id,
                event.sequence,
                event.event_count,
                event.event,
            ]
            for event in events
        ]
        await insert_rows(self._writer, "quarantine", _COLUMNS, rows, token=token)

    async def unclaimed_since(self, instant: datetime) -> tuple[int, int]:
        """See QuarantineStore."""
        rows = await select(
            self._reader,
            "SELECT count(), sum(length(event)) FROM quarantine WHERE organization_id = {organization:String}"
            " AND quarantine_time >= fromUnixTimestamp64Milli({instant:Int64}, 'UTC')",
            {"organization": UNCLAIMED, "instant": milliseconds(instant)},
        )
        return rows[0][0], rows[0][1]

    async def page(
        self,
        *,
        organization_id: str,
        is_waiting: bool,
        ids: Sequence[str],
        before: QuarantineKey | None,
        limit: int,
        max_bytes: int,
    ) -> QuarantinePage:
        """See QuarantineStore. The first look finds how many items fit, the second one reads just those."""
        where = _of_items(organization_id, is_waiting, ids, before)
        rows = await select(
            self._reader,
            "SELECT toUnixTimestamp64Milli(quarantine_time), quarantine_id, length(event)"
            f" FROM quarantine WHERE {where} {_NEWEST_FIRST} LIMIT 1 BY quarantine_id LIMIT {limit + 1}",
            where.values,
        )
        count = fitting([row[2] for row in rows[:limit]], max_bytes)
        if not count:
            return QuarantinePage([], None)
        items = await self._items([str(row[1]) for row in rows[:count]])
        last = rows[count - 1]
        return QuarantinePage(items, QuarantineKey(last[0], str(last[1])) if len(rows) > count else None)

    async def _items(self, ids: Sequence[str]) -> list[QuarantineItem]:
        times = await select(
            self._reader,
            "SELECT quarantine_id, max(replay_time) FROM replays WHERE quarantine_id IN {ids:Array(UUID)}"
            " AND step IN ('stored', 'duplicate') GROUP BY quarantine_id",
            {"ids": list(ids)},
        )
        replayed: dict[UUID, datetime] = {row[0]: row[1] for row in times}

        def read(client: Any) -> Sequence[Sequence[Any]]:
            rows: Sequence[Sequence[Any]] = client.query(
                f"SELECT {', '.join(_COLUMNS)} FROM quarantine WHERE quarantine_id IN {{ids:Array(UUID)}}"
                f" {_NEWEST_FIRST} LIMIT 1 BY quarantine_id",
                parameters={"ids": list(ids)},
                column_formats={"event": "bytes"},
            ).result_rows
            return rows

        return [
            QuarantineItem(
                QuarantinedEvent(str(row[0]), row[1], row[2], aware(row[3]), row[4], row[5], row[6], row[7]),
                aware(replayed[row[0]]) if row[0] in replayed else None,
            )
            for row in await self._reader.run(read)
        ]

    async def record_steps(self, steps: Sequence[ReplayStep], *, token: str) -> None:
        """See QuarantineStore."""
        rows = [
            [UUID(s.quarantine_id), s.journal_id, s.sequence, s.organization_id, s.step, s.replay_time] for s in steps
        ]
        await insert_rows(self._writer, "replays", _STEP_COLUMNS, rows, token=token)

    async def steps_after(self, journal_id: str, sequence: int) -> Sequence[ReplayStep]:
        """See QuarantineStore."""
        rows = await select(
            self._reader,
            "SELECT quarantine_id, journal_id, sequence, organization_id, step, replay_time FROM replays"
            " WHERE journal_id = {journal:String} AND sequence > {after:UInt64} ORDER BY sequence, step",
            {"journal": journal_id, "after": sequence},
        )
        return [ReplayStep(str(row[0]), row[1], row[2], row[3], row[4], aware(row[5])) for row in rows]


def _of_items(organization_id: str, is_waiting: bool, ids: Sequence[str], before: QuarantineKey | None) -> Where:
    where = Where().add("1")
    if organization_id:
        where.add("organization_id = {organization:String}", organization=organization_id)
    if is_waiting:
        where.add(f"quarantine_id NOT IN ({_DONE})")
    if ids:
        where.add("quarantine_id IN {ids:Array(UUID)}", ids=list(ids))
    if before is not None:
        where.add(
            "(quarantine_time, quarantine_id) < (fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC'), {before_id:UUID})",
            before_ms=before.quarantine_time_ms,
            before_id=before.quarantine_id,
        )
    return where
