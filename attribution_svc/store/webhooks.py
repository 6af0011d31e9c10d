"""Webhooks in PostgreSQL."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime

import asyncpg

from attribution_svc.webhooks.attempt import Circuit
from attribution_svc.webhooks.store import Position
from attribution_svc.webhooks.stored import (
    definition_from_json,
    definition_to_json,
    secrets_from_json,
    secrets_to_json,
)
from attribution_svc.webhooks.webhook import Webhook, WebhookKind, no_such_webhook
from svc_runtime.errors import FailedPreconditionError
from svc_runtime.logs import get_logger
from svc_runtime.postgres import Connection, Database

COLUMNS = """w.organization_id, w.webhook_id, w.kind AS webhook_kind, w.definition, w.is_enabled, w.disable_reason,
    w.secrets, w.version, w.create_time AS webhook_time, w.update_time"""
# The row of the health is there as long as the webhook's own.
_INSERT = """
WITH added AS (
    INSERT INTO webhooks (organization_id, webhook_id, kind, definition, is_enabled, disable_reason, secrets, version,
                          actor, create_time, update_time)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
)
INSERT INTO webhook_health (organization_id, webhook_id) VALUES ($1, $2)
"""
# Two at once must not both be the last that fits.
_LOCK_ORGANIZATION = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))"
_COUNT = "SELECT count(*) FROM webhooks WHERE organization_id = $1 AND delete_time IS NULL"
_UPDATE = """
UPDATE webhooks
SET definition = $3, is_enabled = $4, disable_reason = $5, secrets = $6, version = $7, actor = $8, update_time = $9
WHERE organization_id = $1 AND webhook_id = $2
"""
_GET = f"""
SELECT {COLUMNS} FROM webhooks w WHERE w.organization_id = $1 AND w.webhook_id = $2 AND w.delete_time IS NULL
"""  # noqa: S608 - the columns are ours
_LIST = f"""
SELECT {COLUMNS} FROM webhooks w
WHERE w.organization_id = $1 AND w.delete_time IS NULL
  AND (w.create_time, w.webhook_id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::text, ''))
ORDER BY w.create_time DESC, w.webhook_id DESC LIMIT $4
"""  # noqa: S608 - as above
_ENABLED = f"""
SELECT {COLUMNS} FROM webhooks w
WHERE w.organization_id = ANY($1) AND w.is_enabled AND w.delete_time IS NULL
ORDER BY w.organization_id, w.webhook_id
"""  # noqa: S608 - as above
_CIRCUIT = "SELECT failure_count, open_until FROM webhook_health WHERE organization_id = $1 AND webhook_id = $2"
_CLOSE_CIRCUIT = """
UPDATE webhook_health SET failure_count = 0, open_until = NULL WHERE organization_id = $1 AND webhook_id = $2
"""
_INSERT_VERSION = """
INSERT INTO webhook_versions (organization_id, webhook_id, version, definition, is_enabled, is_deleted, actor,
                              version_time)
SELECT organization_id, webhook_id, version, definition, is_enabled, delete_time IS NOT NULL, actor,
       coalesce(delete_time, update_time)
FROM webhooks WHERE organization_id = $1 AND webhook_id = $2
"""
_DELETE = """
UPDATE webhooks SET delete_time = $3, actor = $4, version = version + 1
WHERE organization_id = $1 AND webhook_id = $2 AND delete_time IS NULL
"""
# Those on their way are cancelled too: what comes of them is not written down any more. A long queue is cancelled by
# the sweep; nothing of it is sent meanwhile.
_CANCEL = """
UPDATE webhook_deliveries SET state = 'cancelled', end_time = $3 WHERE (organization_id, delivery_id) IN (
    SELECT organization_id, delivery_id FROM webhook_deliveries
    WHERE organization_id = $1 AND webhook_id = $2 AND state IN ('pending', 'delivering', 'failed') LIMIT 5000)
"""


_log = get_logger(__name__)


class PostgresWebhookStore:
    """A ``WebhookStore`` on the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, webhook: Webhook, *, actor: str, most: int) -> None:
        """See ``WebhookStore.insert``."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK_ORGANIZATION, webhook.organization_id)
            if await connection.fetchval(_COUNT, webhook.organization_id) >= most:
                raise FailedPreconditionError(f"there are {most} webhooks already, the most that there may be")
            await connection.execute(
                _INSERT,
                webhook.organization_id,
                webhook.webhook_id,
                webhook.kind.value,
                json.dumps(definition_to_json(webhook.definition)),
                webhook.is_enabled,
                webhook.disable_reason,
                json.dumps(secrets_to_json(webhook.secrets, webhook.sealed_headers)),
                webhook.version,
                actor,
                webhook.create_time,
                webhook.update_time,
            )
            await connection.execute(_INSERT_VERSION, webhook.organization_id, webhook.webhook_id)

    async def get(self, organization_id: str, webhook_id: str) -> Webhook:
        """See ``WebhookStore.get``."""
        async with self._database.connection() as connection:
            return await _get(connection, _GET, organization_id, webhook_id)

    async def circuit(self, organization_id: str, webhook_id: str) -> Circuit:
        """See ``WebhookStore.circuit``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_CIRCUIT, organization_id, webhook_id)
        if row is None:
            raise no_such_webhook(webhook_id)
        return Circuit(row["failure_count"], row["open_until"])

    async def list_page(self, organization_id: str, *, after: Position | None, limit: int) -> list[Webhook]:
        """See ``WebhookStore.list_page``."""
        time, webhook_id = (after.create_time, after.item_id) if after else (None, None)
        async with self._database.connection() as connection:
            return [webhook_of(row) for row in await connection.fetch(_LIST, organization_id, time, webhook_id, limit)]

    async def enabled_of(self, organization_ids: Sequence[str]) -> list[Webhook]:
        """See ``WebhookStore.enabled_of``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_ENABLED, list(organization_ids))
        return [webhook for row in rows if (webhook := readable_webhook_of(row)) is not None]

    async def update(
        self, organization_id: str, webhook_id: str, change: Callable[[Webhook], Webhook], *, actor: str
    ) -> Webhook:
        """See ``WebhookStore.update``."""
        async with self._database.transaction() as connection:
            present = await _get(connection, _GET + " FOR UPDATE", organization_id, webhook_id)
            following = change(present)
            if following is not present:
                await write(connection, following, actor)
            if following.is_enabled and not present.is_enabled:
                await connection.execute(_CLOSE_CIRCUIT, organization_id, webhook_id)
        return following

    async def delete(self, organization_id: str, webhook_id: str, *, actor: str, now: datetime) -> None:
        """See ``WebhookStore.delete``."""
        async with self._database.transaction() as connection:
            if await connection.execute(_DELETE, organization_id, webhook_id, now, actor) == "UPDATE 0":
                raise no_such_webhook(webhook_id)
            await connection.execute(_INSERT_VERSION, organization_id, webhook_id)
            await connection.execute(_CANCEL, organization_id, webhook_id, now)


async def write(connection: Connection, webhook: Webhook, actor: str) -> None:
    """Write another version of a webhook."""
    await connection.execute(
        _UPDATE,
        webhook.organization_id,
        webhook.webhook_id,
        json.dumps(definition_to_json(webhook.definition)),
        webhook.is_enabled,
        webhook.disable_reason,
        json.dumps(secrets_to_json(webhook.secrets, webhook.sealed_headers)),
        webhook.version,
        actor,
        webhook.update_time,
    )
    await connection.execute(_INSERT_VERSION, webhook.organization_id, webhook.webhook_id)


def webhook_of(row: asyncpg.Record) -> Webhook:
    """Read a row of ``COLUMNS``."""
    secrets, sealed_headers = secrets_from_json(json.loads(row["secrets"]))
    return Webhook(
        organization_id=row["organization_id"],
        webhook_id=row["webhook_id"],
        kind=WebhookKind(row["webhook_kind"]),
        definition=definition_from_json(json.loads(row["definition"])),
        is_enabled=row["is_enabled"],
        disable_reason=row["disable_reason"],
        secrets=secrets,
        sealed_headers=sealed_headers,
        version=row["version"],
        create_time=row["webhook_time"],
        update_time=row["update_time"],
    )


def readable_webhook_of(row: asyncpg.Record) -> Webhook | None:
    """Read a row of ``COLUMNS``; None for one that this release cannot read, which must not stop all the others."""
    try:
        return webhook_of(row)
    except (KeyError, TypeError, ValueError) as error:
        _log.error("a webhook cannot be read", webhook_id=row["webhook_id"], error=repr(error))
        return None


async def _get(connection: Connection, statement: str, organization_id: str, webhook_id: str) -> Webhook:
    row = await connection.fetchrow(statement, organization_id, webhook_id)
    if row is None:
        raise no_such_webhook(webhook_id)
    return webhook_of(row)
