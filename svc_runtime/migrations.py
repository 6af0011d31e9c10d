"""Numbered, forward-only migrations of a PostgreSQL database, applied at start by whichever replica comes first.

A directory holds ``NNNN_name.sql`` files, numbered from 0001 without a gap. Each runs once, in a transaction of its own
together with its row in ``schema_migrations``, so a crash leaves whole migrations only. A file must work with the
release that runs before it: replicas of both run during an upgrade.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from svc_runtime.logs import get_logger

if TYPE_CHECKING:  # services without PostgreSQL are installed without its driver
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[Any] | PoolConnectionProxy[Any]

LONGEST_WAIT_SECONDS = 600.0
"""How long to wait for another replica that is migrating, and for one migration."""

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    apply_time timestamptz NOT NULL DEFAULT now()
)
"""
_log = get_logger(__name__)


class MigrationError(Exception):
    """The directory is not well formed, or it does not continue what the database has."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


async def migrate(connection: "Connection", directory: Traversable | Path, lock_id: int) -> list[str]:
    """Apply what is missing and return the names applied now, in order.

    ``lock_id`` names the advisory lock that keeps two replicas apart: one number per service. A database that a newer
    release has migrated further is left as it is. Raise MigrationError, with nothing applied, when an applied file has
    changed since or a number is missing.
    """
    migrations = read_migrations(directory)
    await connection.execute("SELECT pg_advisory_lock($1)", lock_id, timeout=LONGEST_WAIT_SECONDS)
    try:
        await connection.execute(_TABLE)
        rows = await connection.fetch("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
        applied = {row["version"]: (row["name"], row["checksum"]) for row in rows}
        missing = what_is_missing(migrations, applied)
        for migration in missing:
            await _apply(connection, migration)
        return [migration.name for migration in missing]
    finally:
        # A lost connection has lost its locks too.
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", lock_id)


def read_migrations(directory: Traversable | Path) -> list[Migration]:
    """Read a directory's migrations in order. Raise MigrationError for a bad name, a repeated number or a gap."""
    files = sorted((file for file in directory.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    found: list[Migration] = []
    for file in files:
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{file.name} is not named NNNN_name.sql")
        if int(match[1]) != len(found) + 1:
            raise MigrationError(f"{file.name} should have the number {len(found) + 1:04}")
        found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    return found


def what_is_missing(migrations: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    """Return the migrations to apply on top of ``applied`` (version: name and checksum)."""
    if sorted(applied) != list(range(1, len(applied) + 1)):
        raise MigrationError(f"the database has a gap in its migrations: {sorted(applied)}")
    for migration in migrations[: len(applied)]:
        name, checksum = applied[migration.version]
        if checksum != migration.checksum:
            raise MigrationError(f"{migration.name} differs from {name}, which the database has: write a new file")
    if len(applied) > len(migrations):
        _log.warning("the database is newer than this release", applied=len(applied), known=len(migrations))
    return list(migrations[len(applied) :])


async def _apply(connection: "Connection", migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql, timeout=LONGEST_WAIT_SECONDS)
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )
    _log.info("migration applied", migration=migration.name)
