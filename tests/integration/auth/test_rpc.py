"""AuthService over PostgreSQL: the same contract, several replicas, and a database that comes and goes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from auth_svc.server import open_database
from auth_svc.store.postgres import MIGRATIONS, PostgresWardenStore
from svc_runtime.errors import Code, TrellisError
from svc_runtime.migrations import read_migrations
from tests.contract.auth.mesh import WardenClient, auth_settings, operator, refusal, running_warden
from tests.contract.auth.rpc_contract import WardenRpcContract
from tests.postgres import PostgresServer
from trellis.auth.v1 import auth_service_pb2 as pb

pytestmark = pytest.mark.store


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresWardenStore]:
    async with open_database(auth_settings(postgres_dsn=dsn)) as database:
        yield PostgresWardenStore(database)


class TestAuthServiceOnPostgres(WardenRpcContract):
    """The contract on a database."""


@contextlib.asynccontextmanager
async def replica(dsn: str) -> AsyncIterator[WardenClient]:
    """Run one Warden with connections of its own."""
    async with (
        open_database(auth_settings(postgres_dsn=dsn, postgres_command_seconds=2)) as database,
        running_warden(PostgresWardenStore(database)) as client,
    ):
        yield client


async def test_a_change_by_one_replica_is_known_by_the_other_within_a_second(dsn: str) -> None:
    async with replica(dsn) as here, replica(dsn) as there:
        await here.organization("org_a")
        made = await here.key("org_a", role="owner")
        # A new key works everywhere at once: who does not know it looks.
        assert (await there.validate(made.secret)).organization_id == "org_a"
        watch = there.watch()
        snapshot = await asyncio.wait_for(watch.read(), 5)
        assert [key.key_id for key in snapshot.keys] == [made.key.key_id]
        await here.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id), metadata=operator("org_a"))
        change = await asyncio.wait_for(watch.read(), 1)
        assert change.keys[0].HasField("revoke_time")
        assert (await refusal(there.validate(made.secret))).reason == "KEY_REVOKED"


async def test_a_lost_notification_costs_seconds_and_no_more(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth_svc.store.postgres.CHANNEL", "another_channel")
    async with replica(dsn) as there:
        monkeypatch.setattr("auth_svc.store.postgres.CHANNEL", "warden_directory")
        async with replica(dsn) as here:
            watch = there.watch()
            await asyncio.wait_for(watch.read(), 5)
            await here.organization("org_a")
            change = await asyncio.wait_for(watch.read(), 5)
            assert change.organizations[0].organization_id == "org_a"


async def test_replicas_that_act_at_once_lose_nothing_and_order_everything(dsn: str) -> None:
    async with replica(dsn) as here, replica(dsn) as there:
        await here.organization("org_a")
        watch = there.watch()
        revision = (await asyncio.wait_for(watch.read(), 5)).revision
        made = await asyncio.gather(*(each.key("org_a", role="owner") for each in (here, there) * 15))
        expected = {each.key.key_id for each in made}
        seen: set[str] = set()
        while seen < expected:
            change = await asyncio.wait_for(watch.read(), 5)
            assert change.revision > revision
            revision = change.revision
            seen |= {key.key_id for key in change.keys}
        assert seen == expected
        entries = await here.audit("org_a")
        assert {entry.target for entry in entries} == expected | {"org_a"}


async def test_replicas_that_start_at_once_on_an_empty_database_migrate_it_once(dsn: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = await asyncio.gather(*(stack.enter_async_context(replica(dsn)) for _ in range(3)))
        await clients[0].organization("org_a")
        connection = await asyncpg.connect(dsn)
        try:
            assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == len(
                read_migrations(MIGRATIONS)
            )
        finally:
            await connection.close()


async def eventually(client: WardenClient) -> None:
    """Act as soon as the store is back."""
    async with asyncio.timeout(20):
        while True:
            try:
                request = pb.AddDomainRequest(host="healed.example.com")
                await client.stub.AddDomain(request, metadata=operator("org_a"))
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_warden_outlives_a_restart_of_its_database(own_postgres: PostgresServer) -> None:
    dsn = await own_postgres.create_database()
    async with replica(dsn) as client:
        await client.organization("org_a")
        made = await client.key("org_a", role="owner")
        watch = client.watch()
        await asyncio.wait_for(watch.read(), 5)

        await asyncio.to_thread(own_postgres.stop)
        for _ in range(5):
            assert (await client.validate(made.secret)).organization_id == "org_a"
        error = await refusal(client.key("org_a", role="owner"))
        assert (error.code, error.reason) == (Code.UNAVAILABLE, "UNAVAILABLE")
        assert error.retry_after_seconds
        assert "host" not in error.message
        newcomer = await asyncio.wait_for(client.watch().read(), 5)
        assert [key.key_id for key in newcomer.keys] == [made.key.key_id]

        await asyncio.to_thread(own_postgres.start)
        await eventually(client)
        # The same watch, never cut, learns what happened after the restart.
        change = await asyncio.wait_for(watch.read(), 10)
        assert not change.is_snapshot
        assert [domain.host for domain in change.domains] == ["healed.example.com"]

        # And what somebody else does later, by notification.
        async with replica(dsn) as other:
            await other.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id), metadata=operator("org_a"))
            change = await asyncio.wait_for(watch.read(), 5)
            assert change.keys[0].HasField("revoke_time")


async def test_a_database_that_hangs_costs_callers_a_time_limit_and_nothing_else(own_postgres: PostgresServer) -> None:
    dsn = await own_postgres.create_database()
    async with replica(dsn) as client:
        await client.organization("org_a")
        made = await client.key("org_a", role="owner")
        connection = await asyncpg.connect(own_postgres.dsn("postgres"))
        pids = [row["pid"] for row in await connection.fetch("SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL")]
        await connection.close()
        stopped = [own_postgres.pid, *pids]
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            assert (await client.validate(made.secret)).organization_id == "org_a"
            error: TrellisError = await asyncio.wait_for(refusal(client.key("org_a", role="owner")), 15)
            assert error.code is Code.UNAVAILABLE
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        await eventually(client)


async def test_a_restored_backup_rolls_nothing_back(dsn: str) -> None:
    async with replica(dsn) as client:
        await client.organization("org_a")
        revoked = await client.key("org_a", role="owner")
        connection = await asyncpg.connect(dsn)
        try:
            backup = await connection.fetchval("SELECT revision FROM directory_state")
            await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=revoked.key.key_id), metadata=operator("org_a"))
            watch = client.watch()
            held = await asyncio.wait_for(watch.read(), 5)
            with capture_logs() as logs:
                await connection.execute("ALTER TABLE keys DISABLE TRIGGER keys_stay_revoked")
                await connection.execute("UPDATE keys SET revoke_time = NULL, revision = $1", backup)
                await connection.execute("UPDATE directory_state SET revision = $1", backup)
                await asyncio.sleep(2.5)
            assert [log for log in logs if "older than what we know" in log["event"]]
        finally:
            await connection.close()
        assert (await refusal(client.validate(revoked.secret))).reason == "KEY_REVOKED"
        newcomer = await asyncio.wait_for(client.watch().read(), 5)
        assert newcomer.revision == held.revision
        assert newcomer.keys[0].HasField("revoke_time")
        # The first act after it is newer than everything that was lost.
        await client.organization("org_b")
        change = await asyncio.wait_for(watch.read(), 5)
        assert change.revision > held.revision
