"""Operations in ClickHouse: a row for each change, of which the one of the highest revision counts."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from analytics_svc.operation import OPEN_STATES, Kind, Operation, State
from analytics_svc.store import OperationPosition
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

_INSTANT = "DateTime64(3, 'UTC')"
_COLUMNS = {
    "operation_id": "String",
    "revision": "UInt64",
    "organization_id": "String",
    "kind": "LowCardinality(String)",
    "state": "LowCardinality(String)",
    "mapping_id": "String",
    "mapping_version": "UInt32",
    "campaign_id": "String",
    "claim_version": "UInt32",
    "previous_version": "UInt32",
    "is_new_claim": "UInt8",
    "span_start": f"Nullable({_INSTANT})",
    "span_end": f"Nullable({_INSTANT})",
    "is_planned": "UInt8",
    "total_months": "Array(Date)",
    "done_months": "Array(Date)",
    "total_events": "UInt64",
    "done_events": "UInt64",
    "error": "String",
    "actor": "String",
    "create_time": _INSTANT,
    "end_time": f"Nullable({_INSTANT})",
}
_TIMES = ("span_start", "span_end", "create_time", "end_time")
_SELECTED = ", ".join(
    f"toUnixTimestamp64Milli({name}) AS {name}_ms" if name in _TIMES else name
    for name in _COLUMNS
    if name != "revision"
)
_LATEST = f"SELECT {_SELECTED} FROM operations FINAL"  # noqa: S608 - our own text
_NEWEST_FIRST = "ORDER BY operations.create_time DESC, operation_id DESC"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_MS = 2**53


class ClickHouseOperationStore:
    """``OperationStore`` on the table ``operations``."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def put(self, operation: Operation) -> None:
        """See ``OperationStore.put``. One process writes: nobody takes the next revision in between."""
        values = {"id": operation.operation_id}
        rows = await select(
            self._clickhouse, "SELECT max(revision) FROM operations WHERE operation_id = {id:String}", values
        )
        row = [rows[0][0] + 1 if name == "revision" else _value(operation, name) for name in _COLUMNS]
        await insert_rows(self._clickhouse, "operations", _COLUMNS, [row])

    async def get(self, operation_id: str) -> Operation | None:
        """See ``OperationStore.get``."""
        found = await self._rows(f"{_LATEST} WHERE operation_id = {{id:String}}", id=operation_id)
        return found[0] if found else None

    async def open(self) -> list[Operation]:
        """See ``OperationStore.open``."""
        sql = f"{_LATEST} WHERE state IN {{states:Array(String)}} ORDER BY operations.create_time, operation_id"
        return await self._rows(sql, states=[str(state) for state in OPEN_STATES])

    async def last_of_claim(self, organization_id: str, campaign_id: str, version: int) -> Operation | None:
        """See ``OperationStore.last_of_claim``."""
        found = await self._rows(
            f"{_LATEST} WHERE organization_id = {{organization:String}} AND kind = {{kind:String}}"
            " AND campaign_id = {campaign:String} AND claim_version = {version:UInt32}"
            f" {_NEWEST_FIRST} LIMIT 1",
            organization=organization_id,
            kind=str(Kind.CLAIM),
            campaign=campaign_id,
            version=version,
        )
        return found[0] if found else None

    async def list_page(
        self, organization_id: str | None, kind: Kind | None, *, after: OperationPosition | None, limit: int
    ) -> list[Operation]:
        """See ``OperationStore.list_page``."""
        conditions = ["(toUnixTimestamp64Milli(operations.create_time), operation_id) < ({ms:Int64}, {id:String})"]
        values: dict[str, object] = {
            "ms": _milliseconds(after.create_time) if after else _LAST_MS,
            "id": after.operation_id if after else "",
            "limit": limit,
        }
        for name, wanted in (("organization_id", organization_id), ("kind", kind)):
            if wanted is not None:
                conditions.append(f"{name} = {{{name}:String}}")
                values[name] = str(wanted)
        sql = f"{_LATEST} WHERE {' AND '.join(conditions)} {_NEWEST_FIRST} LIMIT {{limit:UInt32}}"
        return await self._rows(sql, **values)

    async def _rows(self, sql: str, **values: object) -> list[Operation]:
        return [_operation(row) for row in await select(self._clickhouse, sql, values)]


def _value(operation: Operation, name: str) -> object:
    value = getattr(operation, name)
    return list(value) if isinstance(value, tuple) else value


def _operation(row: Sequence[Any]) -> Operation:
    found: dict[str, Any] = dict(zip((name for name in _COLUMNS if name != "revision"), row, strict=True))
    found |= {name: _instant(found[name]) for name in _TIMES}
    found |= {name: tuple(map(_date, found[name])) for name in ("total_months", "done_months")}
    found |= {"kind": Kind(found["kind"]), "state": State(found["state"]), "is_planned": bool(found["is_planned"])}
    found["is_new_claim"] = bool(found["is_new_claim"])
    return Operation(**found)


def _date(day: date) -> date:
    return date(day.year, day.month, day.day)


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


def _instant(unix_ms: int | None) -> Any:
    return None if unix_ms is None else _EPOCH + unix_ms * _MILLISECOND
