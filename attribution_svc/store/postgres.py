"""Campaigns in PostgreSQL."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from typing import Self

import asyncpg

from attribution_svc.campaigns.campaign import Campaign, CampaignStatus, no_such_campaign
from attribution_svc.campaigns.definition import definition_from_json, definition_to_json
from attribution_svc.campaigns.history import CampaignVersion, no_such_version
from attribution_svc.store import Position, Routing
from attribution_svc.store.claims import PostgresClaimStore, order_claim
from attribution_svc.store.conversion_matches import PostgresMatchStore
from attribution_svc.store.conversion_rules import PostgresRuleStore
from attribution_svc.store.conversion_verdicts import PostgresVerdictOutbox
from attribution_svc.store.conversions import PostgresConversionStore
from attribution_svc.store.model_settings import PostgresModelSettingsStore
from attribution_svc.store.usage import PostgresUsageStore
from svc_runtime.errors import AlreadyExistsError
from svc_runtime.logs import get_logger
from svc_runtime.postgres import Connection, Database, Listener

CHANNEL = "trellis_routing"
MIGRATION_LOCK = 7_305_003
"""Advisory lock of attribution_svc's migrations."""

_HIGHEST_VERSION = 2**31 - 1
"""Of an integer column; no campaign comes this far."""
_COLUMNS = """c.organization_id, c.campaign_id, c.slug, c.name, c.status, c.definition, c.version, c.create_time,
    c.update_time, c.claim_version, c.restored_version"""

# A copy of the database that goes its own way has another cluster, another timeline or another number in its cluster:
# restored from a dump, restored to a point in time, promoted from a standby.
_INCARNATION = """
SELECT format('%s/%s/%s', (pg_control_system()).system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
              (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_BEGIN_EPOCH = """
UPDATE routing_state
SET epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), incarnation = $1
WHERE incarnation <> $1
"""
# The counter's row stays locked until the commit: revisions are committed, and so seen, in their order.
_INSERT = """
WITH next AS (UPDATE routing_state SET revision = revision + 1 RETURNING revision)
INSERT INTO campaigns (organization_id, campaign_id, slug, name, status, destination_url, parameter_policy,
                       fallback_url, version, create_time, update_time, definition, claim_version, restored_version,
                       revision)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, next.revision FROM next
"""
_UPDATE = """
WITH next AS (UPDATE routing_state SET revision = revision + 1 RETURNING revision)
UPDATE campaigns
SET slug = $3, name = $4, status = $5, destination_url = $6, parameter_policy = $7, fallback_url = $8, version = $9,
    create_time = $10, update_time = $11, definition = $12, claim_version = $13, restored_version = $14,
    revision = next.revision
FROM next WHERE organization_id = $1 AND campaign_id = $2
"""
_INSERT_VERSION = """
INSERT INTO campaign_versions (organization_id, campaign_id, version, slug, name, status, destination_url,
                               parameter_policy, fallback_url, definition, actor, version_time, claim_version,
                               restored_version)
SELECT organization_id, campaign_id, version, slug, name, status, destination_url, parameter_policy, fallback_url,
       definition, $3, update_time, claim_version, restored_version
FROM campaigns WHERE organization_id = $1 AND campaign_id = $2
"""
_LIST = f"""
SELECT {_COLUMNS} FROM campaigns c
WHERE c.organization_id = $1
  AND CASE WHEN $2::text IS NULL THEN c.status <> 'archived' ELSE c.status = $2 END
  AND (c.create_time, c.campaign_id) < (coalesce($3::timestamptz, 'infinity'), coalesce($4::text, ''))
ORDER BY c.create_time DESC, c.campaign_id DESC LIMIT $5
"""  # noqa: S608 - the columns are ours
_GET = f"SELECT {_COLUMNS} FROM campaigns c WHERE c.organization_id = $1 AND c.campaign_id = $2"  # noqa: S608 - as above
# The versions of a release without definitions have a destination, a policy and a fallback.
_VERSIONS = """
SELECT v.organization_id, v.campaign_id, v.slug, v.name, v.status, v.version, c.create_time,
       v.version_time AS update_time, v.claim_version, v.restored_version, v.actor,
       coalesce(v.definition, definition_of(v.destination_url, v.parameter_policy, v.fallback_url)) AS definition
FROM campaign_versions v JOIN campaigns c USING (organization_id, campaign_id)
WHERE v.organization_id = $1 AND v.campaign_id = $2
"""
_VERSION_PAGE = _VERSIONS + " AND v.version < coalesce($3::integer, 2147483647) ORDER BY v.version DESC LIMIT $4"
_VERSION = _VERSIONS + " AND v.version = $3"
_IDS_BELOW = """
SELECT campaign_id FROM campaigns
WHERE organization_id = $1 AND (definition ->> 'priority')::integer < $2 ORDER BY campaign_id LIMIT $3
"""
# State and campaigns in one statement: of one moment.
_SNAPSHOT = f"""
SELECT s.epoch, s.revision AS newest, c.revision, {_COLUMNS}
FROM routing_state s LEFT JOIN campaigns c ON c.status <> 'archived' ORDER BY c.revision
"""  # noqa: S608 - as above
_CHANGES = f"""
SELECT s.epoch, s.revision AS newest, c.revision, {_COLUMNS}
FROM routing_state s LEFT JOIN campaigns c ON c.revision > $1 ORDER BY c.revision LIMIT $2
"""  # noqa: S608 - as above
_log = get_logger(__name__)


class PostgresCampaignStore:
    """A ``CampaignStore`` on one PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, dsn: str, *, pool_size: int = 10) -> AsyncIterator[Self]:
        """Wait for the server, migrate the database, and hold connections for the time of the block."""
        async with Database.open(
            dsn,
            application_name="attribution_svc",
            migrations=resources.files(__package__) / "migrations",
            lock_id=MIGRATION_LOCK,
            pool_size=pool_size,
        ) as database:
            yield cls(database)

    @property
    def database(self) -> Database:
        """The database itself, for the stores of other things in it."""
        return self._database

    @property
    def usage(self) -> PostgresUsageStore:
        """The counts against caps, in the same database."""
        return PostgresUsageStore(self._database)

    @property
    def model_settings(self) -> PostgresModelSettingsStore:
        """The settings of the attribution models, in the same database."""
        return PostgresModelSettingsStore(self._database)

    @property
    def claims(self) -> PostgresClaimStore:
        """See ``CampaignStore.claims``."""
        return PostgresClaimStore(self._database)

    @property
    def conversions(self) -> PostgresConversionStore:
        """The conversions, in the same database."""
        return PostgresConversionStore(self._database)

    @property
    def conversion_matches(self) -> PostgresMatchStore:
        """Which clicks the conversions go back to."""
        return PostgresMatchStore(self._database)

    @property
    def conversion_rules(self) -> PostgresRuleStore:
        """How organisations want their conversions read."""
        return PostgresRuleStore(self._database)

    @property
    def verdicts(self) -> PostgresVerdictOutbox:
        """What the reading is yet to be told of conversions."""
        return PostgresVerdictOutbox(self._database)

    async def insert(self, campaign: Campaign, *, actor: str) -> None:
        """See ``CampaignStore.insert``."""
        async with self._database.transaction() as connection:
            await _write(connection, _INSERT, campaign, actor)
            if campaign.claim_version:
                await order_claim(connection, campaign, actor)

    async def get(self, organization_id: str, campaign_id: str) -> Campaign:
        """See ``CampaignStore.get``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_GET, organization_id, campaign_id)
        if row is None:
            raise no_such_campaign(campaign_id)
        return _campaign(row)

    async def list_page(
        self, organization_id: str, *, status: CampaignStatus | None, after: Position | None, limit: int
    ) -> list[Campaign]:
        """See ``CampaignStore.list_page``."""
        time, campaign_id = (after.create_time, after.campaign_id) if after else (None, None)
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _LIST, organization_id, status.value if status else None, time, campaign_id, limit
            )
        return [_campaign(row) for row in rows]

    async def update(
        self, organization_id: str, campaign_id: str, change: Callable[[Campaign], Campaign], *, actor: str
    ) -> Campaign:
        """See ``CampaignStore.update``."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_GET + " FOR UPDATE", organization_id, campaign_id)
            if row is None:
                raise no_such_campaign(campaign_id)
            present = _campaign(row)
            following = change(present)
            if following is not present:
                await _write(connection, _UPDATE, following, actor)
                if following.claim_version != present.claim_version:
                    await order_claim(connection, following, actor)
        return following

    async def versions(
        self, organization_id: str, campaign_id: str, *, before: int | None, limit: int
    ) -> list[CampaignVersion]:
        """See ``CampaignStore.versions``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_VERSION_PAGE, organization_id, campaign_id, before, limit)
        if not rows and before is None:
            raise no_such_campaign(campaign_id)
        return [CampaignVersion(_campaign(row), row["actor"]) for row in rows]

    async def version(self, organization_id: str, campaign_id: str, version: int) -> CampaignVersion:
        """See ``CampaignStore.version``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_VERSION, organization_id, campaign_id, min(version, _HIGHEST_VERSION))
            if row is None and await connection.fetchrow(_GET, organization_id, campaign_id) is None:
                raise no_such_campaign(campaign_id)
        if row is None:
            raise no_such_version(campaign_id, version)
        return CampaignVersion(_campaign(row), row["actor"])

    async def ids_below(self, organization_id: str, priority: int, *, limit: int) -> list[str]:
        """See ``CampaignStore.ids_below``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_IDS_BELOW, organization_id, priority, limit)
        return [row["campaign_id"] for row in rows]

    async def routing_snapshot(self) -> Routing:
        """See ``CampaignStore.routing_snapshot``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SNAPSHOT)
        return _routing(rows, is_cut=False)

    async def routing_changes(self, after: int, *, limit: int) -> Routing:
        """See ``CampaignStore.routing_changes``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CHANGES, after, limit)
        return _routing(rows, is_cut=len(rows) == limit)

    @contextlib.asynccontextmanager
    async def routing_wakeups(self) -> AsyncIterator[Listener]:
        """See ``CampaignStore.routing_wakeups``. Begins a new epoch when the database is a copy gone its own way."""
        async with self._database.listen(CHANNEL) as listener:
            async with self._database.connection() as connection:
                await _begin_epoch_of_a_copy(connection)
            yield listener


async def _begin_epoch_of_a_copy(connection: Connection) -> None:
    try:
        incarnation = await connection.fetchval(_INCARNATION)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError):
        _log.warning("this PostgreSQL does not tell copies of a database apart: after a restore, raise the epoch")
        return
    if await connection.execute(_BEGIN_EPOCH, incarnation) != "UPDATE 0":
        _log.warning("a new epoch of routing begins: the database is new, or restored")


async def _write(connection: Connection, statement: str, campaign: Campaign, actor: str) -> None:
    """Write the campaign, its version and the news of it; the caller's transaction makes it one."""
    try:
        await connection.execute(
            statement,
            campaign.organization_id,
            campaign.campaign_id,
            campaign.slug,
            campaign.name,
            campaign.status.value,
            campaign.destination_url,
            campaign.parameter_policy.value,
            campaign.fallback_url,
            campaign.version,
            campaign.create_time,
            campaign.update_time,
            json.dumps(definition_to_json(campaign.definition)),
            campaign.claim_version,
            campaign.restored_version,
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "campaigns_slug":
            raise AlreadyExistsError(f"another campaign has the slug {campaign.slug!r}") from None
        if error.constraint_name == "campaigns_id":
            raise AlreadyExistsError(f"there is a campaign {campaign.campaign_id!r} already") from None
        raise
    await connection.execute(_INSERT_VERSION, campaign.organization_id, campaign.campaign_id, actor)
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)


def _campaign(row: asyncpg.Record) -> Campaign:
    return Campaign(
        organization_id=row["organization_id"],
        campaign_id=row["campaign_id"],
        slug=row["slug"],
        name=row["name"],
        status=CampaignStatus(row["status"]),
        definition=definition_from_json(json.loads(row["definition"])),
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        claim_version=row["claim_version"],
        restored_version=row["restored_version"],
    )


def _routing(rows: Sequence[asyncpg.Record], *, is_cut: bool) -> Routing:
    """Read state and campaigns; there is a first row even without any campaign."""
    campaigns = [(row["revision"], _campaign(row)) for row in rows if row["revision"] is not None]
    revision = campaigns[-1][0] if is_cut and campaigns else rows[0]["newest"]
    return Routing(rows[0]["epoch"], revision, campaigns)
