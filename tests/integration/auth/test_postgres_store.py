"""PostgreSQL keeps the store's contract, and what only a database can promise."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from auth_svc.directory_update import DirectoryUpdate
from auth_svc.store.postgres import LOCK_ID, MIGRATIONS, PostgresWardenStore
from svc_runtime.postgres import Database
from tests.contract.auth.partner_contract import PartnerStoreContract
from tests.contract.auth.store_contract import WardenStoreContract
from tests.contract.auth.things import NOON, a_domain, a_key, an_act, an_organization

pytestmark = pytest.mark.store


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresWardenStore]:
    async with Database.open(dsn, application_name="test", migrations=MIGRATIONS, lock_id=LOCK_ID) as database:
        yield PostgresWardenStore(database)


class TestPostgresWardenStore(WardenStoreContract, PartnerStoreContract):
    """The contract on a database."""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'nobody'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "UPDATE audit_entries SET actor = 'nobody' WHERE false",
    ],
)
async def test_the_audit_log_cannot_be_rewritten(store: PostgresWardenStore, dsn: str, statement: str) -> None:
    await store.create_organization(an_organization(), an_act("organization.create"))
    before = await store.list_audit_entries("org_a", before=None, limit=10)
    connection = await asyncpg.connect(dsn)
    try:
        for role in ("origin", "replica"):
            await connection.execute(f"SET session_replication_role = {role}")
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()
    assert await store.list_audit_entries("org_a", before=None, limit=10) == before
    assert len(before) == 1


async def test_a_revoked_key_cannot_be_revived_by_hand(store: PostgresWardenStore, dsn: str) -> None:
    await store.create_organization(an_organization(), an_act("organization.create"))
    await store.create_key(a_key(1, revoke_time=NOON), an_act())
    connection = await asyncpg.connect(dsn)
    try:
        with pytest.raises(asyncpg.RestrictViolationError, match="stays revoked"):
            await connection.execute("UPDATE keys SET revoke_time = NULL")
    finally:
        await connection.close()
    assert (await store.get_key("org_a", a_key(1).key_id)).revoke_time == NOON


async def test_no_secret_is_in_the_database(store: PostgresWardenStore, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        columns = await connection.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = 'keys'")
    finally:
        await connection.close()
    assert not {row["column_name"] for row in columns} & {"secret", "key", "text"}


async def test_what_is_read_is_of_one_revision_while_others_write(store: PostgresWardenStore, dsn: str) -> None:
    await store.create_organization(an_organization(), an_act("organization.create"))
    read: list[DirectoryUpdate] = []

    async def write() -> None:
        for number in range(150):
            await store.add_domain(a_domain(f"t{number}.example.com"), an_act("domain.add"))

    writing = asyncio.create_task(write())
    while not writing.done():
        read.append(await store.read_directory())
    await writing
    connection = await asyncpg.connect(dsn)
    try:
        revisions = {row["host"]: row["revision"] for row in await connection.fetch("SELECT * FROM domains")}
    finally:
        await connection.close()
    assert len({update.revision for update in read}) > 10
    for update in read:
        expected = {host for host, revision in revisions.items() if revision <= update.revision}
        assert {host for host, _ in update.domains} == expected
