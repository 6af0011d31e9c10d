"""What every act on Warden's database does: alone among all acts, with its audit entry and its revision."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import asyncpg

from auth_svc.audit import Act
from auth_svc.store import rows, sql
from svc_runtime.errors import AlreadyExistsError, NotFoundError
from svc_runtime.postgres import Connection, Database

CHANNEL = "warden_directory"


@contextlib.asynccontextmanager
async def acting(database: Database) -> AsyncIterator[Connection]:
    """Lend a transaction that is alone among all that act."""
    async with database.transaction() as connection:
        await connection.execute(sql.WAIT_FOR_OUR_TURN)
        yield connection


async def take_effect(connection: Connection, act: Act) -> int:
    """Write the audit entry, tell the watchers at commit, and return the revision of the act."""
    await connection.execute(sql.INSERT_AUDIT_ENTRY, *rows.act_values(act))
    revision: int = await connection.fetchval(sql.NEXT_REVISION, CHANNEL)
    return revision


@contextlib.contextmanager
def refusing(*, unique: AlreadyExistsError, foreign: NotFoundError | None = None) -> Iterator[None]:
    """Say in our words what a constraint refuses."""
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise unique from None
    except asyncpg.ForeignKeyViolationError:
        if foreign is None:
            raise
        raise foreign from None
