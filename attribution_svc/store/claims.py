"""Orders for history in PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg

from attribution_svc.campaigns.campaign import Campaign
from attribution_svc.campaigns.claim import ClaimOrder, OrderState
from svc_runtime.postgres import Connection, Database

LONGEST_WAIT_SECONDS = 60
_LOCKS = 7_305_004
"""Seed of the advisory locks by which one process at a time hands a campaign's order over."""
_COLUMNS = "organization_id, campaign_id, version, claim_version, actor, state, operation_id, error"
_ORDER = f"""
INSERT INTO pending_claims ({_COLUMNS}, attempts, try_time) VALUES ($1, $2, $3, $4, $5, 'waiting', '', '', 0, now())
ON CONFLICT (organization_id, campaign_id) DO UPDATE
SET version = excluded.version, claim_version = excluded.claim_version, actor = excluded.actor, state = 'waiting',
    operation_id = '', error = '', attempts = 0, try_time = excluded.try_time
"""  # noqa: S608 - the columns are ours
# A lock of the session: it goes with the connection, so that whoever dies holds nothing.
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1 || '/' || $2, $3))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1 || '/' || $2, $3))"
_WAITING = f"""
SELECT {_COLUMNS} FROM pending_claims WHERE organization_id = $1 AND campaign_id = $2 AND state = 'waiting'
"""  # noqa: S608 - as above
_DUE = """
SELECT organization_id, campaign_id FROM pending_claims
WHERE state = 'waiting' AND try_time <= now() ORDER BY try_time LIMIT $1
"""
_SETTLE = """
UPDATE pending_claims
SET state = $4, operation_id = $5, error = $6, attempts = attempts + 1,
    try_time = now() + make_interval(secs => least($7, power(2, least(attempts, 10))))
WHERE organization_id = $1 AND campaign_id = $2 AND version = $3
"""
_ORDERS = f"""
SELECT {_COLUMNS} FROM pending_claims WHERE organization_id = $1 AND campaign_id = ANY($2)
"""  # noqa: S608 - as above


async def order_claim(connection: Connection, campaign: Campaign, actor: str) -> None:
    """Write the order of a campaign's new version, in the transaction that writes the version."""
    await connection.execute(
        _ORDER, campaign.organization_id, campaign.campaign_id, campaign.version, campaign.claim_version, actor
    )


class PostgresClaimStore:
    """A ``ClaimStore`` in the campaigns' database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.asynccontextmanager
    async def holding(self, organization_id: str, campaign_id: str) -> AsyncIterator[ClaimOrder | None]:
        """See ``ClaimStore.holding``."""
        key = (organization_id, campaign_id, _LOCKS)
        async with self._database.connection() as connection:
            if not await connection.fetchval(_LOCK, *key):
                yield None
                return
            try:
                row = await connection.fetchrow(_WAITING, organization_id, campaign_id)
                yield None if row is None else _order(row)
            finally:
                await connection.execute(_UNLOCK, *key)

    async def due(self, *, limit: int) -> list[tuple[str, str]]:
        """See ``ClaimStore.due``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_DUE, limit)
        return [(row["organization_id"], row["campaign_id"]) for row in rows]

    async def settle(self, order: ClaimOrder) -> None:
        """See ``ClaimStore.settle``."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SETTLE,
                order.organization_id,
                order.campaign_id,
                order.version,
                order.state.value,
                order.operation_id,
                order.error,
                LONGEST_WAIT_SECONDS,
            )

    async def orders(self, organization_id: str, campaign_ids: Sequence[str]) -> dict[str, ClaimOrder]:
        """See ``ClaimStore.orders``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_ORDERS, organization_id, list(campaign_ids))
        return {row["campaign_id"]: _order(row) for row in rows}


def _order(row: asyncpg.Record) -> ClaimOrder:
    return ClaimOrder(
        organization_id=row["organization_id"],
        campaign_id=row["campaign_id"],
        version=row["version"],
        claim_version=row["claim_version"],
        actor=row["actor"],
        state=OrderState(row["state"]),
        operation_id=row["operation_id"],
        error=row["error"],
    )
