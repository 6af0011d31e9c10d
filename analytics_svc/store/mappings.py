"""Parameter mappings in ClickHouse: rows that are only added."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from analytics_svc.mappings.mapping import ActiveMappings, FieldRule, MappingVersion
from analytics_svc.store import ListedMapping, MappingPosition
from analytics_svc.store.connect import connect
from svc_runtime.clickhouse import ClickHouse, Dsn, insert_rows, select

_MAPPING_COLUMNS = {
    "organization_id": "String",
    "mapping_id": "String",
    "version": "UInt32",
    "name": "String",
    "source": "String",
    "parameters": "Array(String)",
    "fields": "Array(String)",
    "start_time": "Nullable(DateTime64(3, 'UTC'))",
    "end_time": "Nullable(DateTime64(3, 'UTC'))",
    "actor": "String",
    "create_time": "DateTime64(3, 'UTC')",
}
# A version that was made before each of which is none: its `active_version` is 0 then, which no version is.
_VERSIONS = """
SELECT organization_id, mapping_id, version, name, source, parameters, fields,
    toUnixTimestamp64Milli(start_time) AS start_ms, toUnixTimestamp64Milli(end_time) AS end_ms, actor,
    toUnixTimestamp64Milli(create_time) AS create_ms, version = active_version AS is_active,
    min(create_ms) OVER (PARTITION BY organization_id, mapping_id) AS first_ms
FROM mappings
LEFT JOIN (
    SELECT organization_id, mapping_id, argMax(version, revision) AS active_version
    FROM mapping_activations WHERE {chosen} GROUP BY organization_id, mapping_id
) AS activations USING (organization_id, mapping_id)
WHERE {chosen}
"""
_OWN = "organization_id = {organization:String}"
_ONE = f"{_OWN} AND mapping_id = {{mapping:String}}"
_LIST = f"""
SELECT * FROM (
    SELECT * FROM ({_VERSIONS.format(chosen=_OWN)})
    ORDER BY is_active DESC, version DESC LIMIT 1 BY mapping_id
)
WHERE (first_ms, mapping_id) < ({{after_ms:Int64}}, {{after_id:String}})
ORDER BY first_ms DESC, mapping_id DESC LIMIT {{limit:UInt32}}
"""  # noqa: S608 - our own text
_GET = f"{_VERSIONS.format(chosen=_ONE)} ORDER BY version DESC"
_ACTIVE = f"SELECT * FROM ({_VERSIONS.format(chosen='1')}) WHERE is_active ORDER BY first_ms, mapping_id"  # noqa: S608 - our own text
# The revision that follows is found by the statement that writes it.
_ACTIVATE = f"""
INSERT INTO mapping_activations (organization_id, mapping_id, revision, version, actor, activate_time)
SELECT {{organization:String}}, {{mapping:String}}, max(revision) + 1, {{version:UInt32}}, {{actor:String}},
    fromUnixTimestamp64Milli({{now_ms:Int64}}, 'UTC')
FROM mapping_activations WHERE {_ONE}
HAVING argMax(version, revision) != {{version:UInt32}}
"""  # noqa: S608 - our own text
_COUNT = f"SELECT uniqExact(mapping_id) FROM mappings WHERE {_OWN}"  # noqa: S608 - our own text
_LAST_MS = 2**62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ClickHouseMappingStore:
    """``MappingStore`` on the tables ``mappings`` and ``mapping_activations``."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, dsn: Dsn) -> AsyncIterator[Self]:
        """Hold a connection for the time of the block; the database is migrated already."""
        clickhouse = connect(dsn)
        try:
            yield cls(clickhouse)
        finally:
            await clickhouse.close()

    async def add(self, version: MappingVersion) -> None:
        """See ``MappingStore.add``."""
        row = [
            version.organization_id,
            version.mapping_id,
            version.version,
            version.name,
            version.source,
            [rule.parameter for rule in version.rules],
            [rule.field for rule in version.rules],
            version.start_time,
            version.end_time,
            version.actor,
            version.create_time,
        ]
        await insert_rows(self._clickhouse, "mappings", _MAPPING_COLUMNS, [row])

    async def activate(self, organization_id: str, mapping_id: str, version: int, *, actor: str, now: datetime) -> None:
        """See ``MappingStore.activate``."""
        values = {
            "organization": organization_id,
            "mapping": mapping_id,
            "version": version,
            "actor": actor,
            "now_ms": _milliseconds(now),
        }
        await self._clickhouse.run(lambda client: client.command(_ACTIVATE, parameters=values))

    async def versions(self, organization_id: str, mapping_id: str) -> list[MappingVersion]:
        """See ``MappingStore.versions``."""
        return [_version(row) for row in await self._rows(_GET, organization=organization_id, mapping=mapping_id)]

    async def list_page(
        self, organization_id: str, *, after: MappingPosition | None, limit: int
    ) -> list[ListedMapping]:
        """See ``MappingStore.list_page``."""
        rows = await self._rows(
            _LIST,
            organization=organization_id,
            after_ms=_milliseconds(after.create_time) if after else _LAST_MS,
            after_id=after.mapping_id if after else "",
            limit=limit,
        )
        return [ListedMapping(_version(row), _position(row)) for row in rows]

    async def count(self, organization_id: str) -> int:
        """See ``MappingStore.count``."""
        rows = await select(self._clickhouse, _COUNT, {"organization": organization_id})
        return int(rows[0][0])

    async def active(self) -> ActiveMappings:
        """See ``MappingStore.active``."""
        versions = [_version(row) for row in await self._rows(_ACTIVE)]
        organizations = {version.organization_id for version in versions}
        return {
            organization_id: tuple(v.as_active() for v in versions if v.organization_id == organization_id)
            for organization_id in organizations
        }

    async def _rows(self, sql: str, **values: object) -> Sequence[Sequence[Any]]:
        return await select(self._clickhouse, sql, values)


def _version(row: Sequence[Any]) -> MappingVersion:
    (organization_id, mapping_id, version, name, source, parameters, fields, start_ms, end_ms, actor, create_ms,
     is_active, _) = row  # fmt: skip
    return MappingVersion(
        organization_id=organization_id,
        mapping_id=mapping_id,
        version=version,
        name=name,
        source=source,
        rules=tuple(map(FieldRule, parameters, fields)),
        start_time=None if start_ms is None else _instant(start_ms),
        end_time=None if end_ms is None else _instant(end_ms),
        actor=actor,
        create_time=_instant(create_ms),
        is_active=bool(is_active),
    )


def _position(row: Sequence[Any]) -> MappingPosition:
    return MappingPosition(_instant(row[-1]), row[1])


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


def _instant(unix_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=unix_ms)
