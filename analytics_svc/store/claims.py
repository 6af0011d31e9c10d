"""Claims in ClickHouse: rows that are only added."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from analytics_svc.claims.claim import ActiveClaims, MadeClaim
from analytics_svc.convert.claims import claim_from_bytes
from analytics_svc.store.connect import connect
from svc_runtime.clickhouse import ClickHouse, Dsn, insert_rows, select

_COLUMNS = {
    "organization_id": "String",
    "campaign_id": "String",
    "version": "UInt32",
    "definition": "String",
    "actor": "String",
    "claim_time": "DateTime64(3, 'UTC')",
}
_OWN = "organization_id = {organization:String} AND campaign_id = {campaign:String}"
_VERSION = f"{_OWN} AND version = {{version:UInt32}}"
_CLAIM = "organization_id, definition, actor, toUnixTimestamp64Milli(claim_time)"
_GET = f"SELECT {_CLAIM} FROM claims WHERE {_VERSION} ORDER BY claims.claim_time DESC LIMIT 1"  # noqa: S608 - our own text
_ACTIVE = f"""
SELECT {_CLAIM} FROM (
    SELECT * FROM claims ORDER BY claim_time DESC LIMIT 1 BY organization_id, campaign_id, version
) WHERE (organization_id, campaign_id, version) IN (
    SELECT organization_id, campaign_id, argMax(version, revision) FROM claim_activations
    GROUP BY organization_id, campaign_id
) ORDER BY claim_time, campaign_id
"""  # noqa: S608 - our own text
# The revision that follows is found by the statement that writes it.
_ACTIVATE = f"""
INSERT INTO claim_activations
    (organization_id, campaign_id, revision, version, priority, claim_time, actor, activate_time)
SELECT {{organization:String}}, {{campaign:String}}, max(revision) + 1, {{version:UInt32}}, {{priority:Int32}},
    fromUnixTimestamp64Milli({{claim_ms:Int64}}, 'UTC'), {{actor:String}},
    fromUnixTimestamp64Milli({{now_ms:Int64}}, 'UTC')
FROM claim_activations WHERE {_OWN}
HAVING argMax(version, revision) != {{version:UInt32}}
"""  # noqa: S608 - our own text
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ClickHouseClaimStore:
    """``ClaimStore`` on the tables ``claims`` and ``claim_activations``."""

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

    async def add(self, made: MadeClaim, definition: bytes) -> None:
        """See ``ClaimStore.add``."""
        claim = made.claim
        row = [made.organization_id, claim.campaign_id, claim.version, definition.hex(), made.actor, made.claim_time]
        await insert_rows(self._clickhouse, "claims", _COLUMNS, [row])

    async def get(self, organization_id: str, campaign_id: str, version: int) -> MadeClaim | None:
        """See ``ClaimStore.get``."""
        rows = await self._rows(_GET, organization=organization_id, campaign=campaign_id, version=version)
        return _made(rows[0]) if rows else None

    async def was_activated(self, organization_id: str, campaign_id: str, version: int | None) -> bool:
        """See ``ClaimStore.was_activated``."""
        where = _OWN if version is None else _VERSION
        sql = f"SELECT count() FROM claim_activations WHERE {where}"  # noqa: S608 - our own text
        rows = await self._rows(sql, organization=organization_id, campaign=campaign_id, version=version or 0)
        return bool(rows[0][0])

    async def active_version(self, organization_id: str, campaign_id: str) -> int:
        """See ``ClaimStore.active_version``."""
        sql = f"SELECT argMax(version, revision) FROM claim_activations WHERE {_OWN}"  # noqa: S608 - our own text
        rows = await self._rows(sql, organization=organization_id, campaign=campaign_id)
        return int(rows[0][0])

    async def activate(
        self, organization_id: str, campaign_id: str, made: MadeClaim | None, *, actor: str, now: datetime
    ) -> None:
        """See ``ClaimStore.activate``."""
        values = {
            "organization": organization_id,
            "campaign": campaign_id,
            "version": made.claim.version if made else 0,
            "priority": made.claim.priority if made else 0,
            "claim_ms": _milliseconds(made.claim_time) if made else 0,
            "actor": actor,
            "now_ms": _milliseconds(now),
        }
        await self._clickhouse.run(lambda client: client.command(_ACTIVATE, parameters=values))

    async def active(self) -> ActiveClaims:
        """See ``ClaimStore.active``."""
        found: dict[str, list[MadeClaim]] = {}
        for row in await self._rows(_ACTIVE):
            made = _made(row)
            found.setdefault(made.organization_id, []).append(made)
        return found

    async def _rows(self, sql: str, **values: object) -> Sequence[Sequence[Any]]:
        return await select(self._clickhouse, sql, values)


def _made(row: Sequence[Any]) -> MadeClaim:
    organization_id, definition, actor, claim_ms = row
    return MadeClaim(
        organization_id, claim_from_bytes(bytes.fromhex(definition)), actor, _EPOCH + claim_ms * _MILLISECOND
    )


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND
