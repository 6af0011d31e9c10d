"""Settings of the models in PostgreSQL."""

import json
from datetime import datetime
from typing import Any

from attribution_svc.crediting.settings import (
    ModelSettings,
    TypeSetting,
    no_such_version,
    types_from_json,
    types_to_json,
)
from svc_runtime.errors import FailedPreconditionError
from svc_runtime.postgres import Connection, Database

_CURRENT = """
SELECT version, types, actor, create_time FROM model_settings WHERE organization_id = $1 ORDER BY version DESC LIMIT 1
"""
_VERSION = (
    "SELECT version, types, actor, create_time FROM model_settings WHERE organization_id = $1 AND version = $2::bigint"
)
_INSERT = """
INSERT INTO model_settings (organization_id, version, types, actor, create_time) VALUES ($1, $2, $3, $4, $5)
"""
# Whoever puts settings of an organisation waits for whoever does just now.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('model_settings ' || $1, 0))"


class PostgresModelSettingsStore:
    """``ModelSettingsStore`` on one PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self, organization_id: str) -> ModelSettings:
        """See ``ModelSettingsStore.current``."""
        async with self._database.connection() as connection:
            return await _current(connection, organization_id)

    async def version(self, organization_id: str, version: int) -> ModelSettings:
        """See ``ModelSettingsStore.version``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_VERSION, organization_id, version)
        if row is None:
            raise no_such_version(version)
        return _settings(organization_id, row)

    async def put(
        self,
        organization_id: str,
        types: tuple[TypeSetting, ...],
        *,
        actor: str,
        now: datetime,
        expected_version: int | None = None,
    ) -> ModelSettings:
        """See ``ModelSettingsStore.put``."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, organization_id)
            current = await _current(connection, organization_id)
            if expected_version not in (None, current.version):
                raise FailedPreconditionError(f"the settings have version {current.version}, not {expected_version}")
            wanted = types_to_json(types)
            if wanted == types_to_json(current.types):
                return current
            following = ModelSettings(organization_id, current.version + 1, types, actor, now)
            await connection.execute(_INSERT, organization_id, following.version, json.dumps(wanted), actor, now)
        return following


async def _current(connection: Connection, organization_id: str) -> ModelSettings:
    row = await connection.fetchrow(_CURRENT, organization_id)
    return ModelSettings(organization_id, 0) if row is None else _settings(organization_id, row)


def _settings(organization_id: str, row: Any) -> ModelSettings:
    types = types_from_json(json.loads(row["types"]))
    return ModelSettings(organization_id, row["version"], types, row["actor"], row["create_time"])
