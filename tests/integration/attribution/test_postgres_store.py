"""Campaigns in a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from attribution_svc.campaigns.campaign import CampaignChange, CampaignStatus, plain_definition
from attribution_svc.campaigns.usage import Usage
from attribution_svc.crediting.settings import ModelSettingsStore
from attribution_svc.store import CampaignStore, UsageStore
from attribution_svc.store.postgres import PostgresCampaignStore
from tests.contract.attribution.claim_contract import ClaimStoreContract
from tests.contract.attribution.settings_contract import ModelSettingsStoreContract
from tests.contract.attribution.store_contract import NOW, CampaignStoreContract, changing, make, routed
from tests.contract.attribution.usage_contract import UNIQUES, UsageStoreContract, clicks, told
from tests.postgres import PostgresServer

pytestmark = pytest.mark.store


class TestPostgresCampaignStore(CampaignStoreContract, ClaimStoreContract):
    """In PostgreSQL."""

    @pytest.fixture
    async def store(self, dsn: str) -> AsyncIterator[CampaignStore]:
        """An empty one."""
        async with PostgresCampaignStore.open(dsn) as store:
            yield store


class TestPostgresModelSettingsStore(ModelSettingsStoreContract):
    """In PostgreSQL."""

    @pytest.fixture
    async def settings(self, dsn: str) -> AsyncIterator[ModelSettingsStore]:
        """An empty one."""
        async with PostgresCampaignStore.open(dsn) as store:
            yield store.model_settings


class TestPostgresUsageStore(UsageStoreContract):
    """In PostgreSQL."""

    @pytest.fixture
    async def usage(self, dsn: str) -> AsyncIterator[UsageStore]:
        """An empty one."""
        async with PostgresCampaignStore.open(dsn) as store:
            yield store.usage


async def test_old_windows_are_forgotten_and_totals_are_not(dsn: str) -> None:
    async with PostgresCampaignStore.open(dsn) as store:
        recent = replace(clicks(), start_time=datetime.now(UTC))
        usages = [Usage(clicks(), 1, ()), Usage(UNIQUES, 0, (1,)), Usage(recent, 5, ())]
        assert await store.usage.exchange(told("1", 1, *usages)) == [1, 1, 5]
        await store.usage.forget()
        again = [Usage(usage.window, 0, ()) for usage in usages]
        assert await store.usage.exchange(told("1", 2, *again)) == [0, 1, 5]


async def test_every_version_is_kept_with_its_actor_and_cannot_be_edited(dsn: str) -> None:
    async with PostgresCampaignStore.open(dsn) as store:
        await store.insert(make("cmp_1"), actor="key:anna")
        pause = CampaignChange(
            status=CampaignStatus.PAUSED, define=lambda _: plain_definition("https://shop.example/2")
        )
        await store.update("org_a", "cmp_1", changing(pause), actor="operator")
        await store.update("org_a", "cmp_1", changing(CampaignChange()), actor="nobody")
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT * FROM campaign_versions ORDER BY version")
    assert [(row["version"], row["actor"], row["status"], row["destination_url"]) for row in rows] == [
        (1, "key:anna", "active", "https://shop.example/"),
        (2, "operator", "paused", "https://shop.example/2"),
    ]
    assert rows[0]["version_time"] == NOW
    assert rows[1]["version_time"] > NOW
    for statement in (
        "UPDATE campaign_versions SET actor = 'x'",
        "DELETE FROM campaign_versions",
        "TRUNCATE campaign_versions",
    ):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(statement)
    await connection.close()


async def test_revisions_become_visible_in_their_order(dsn: str) -> None:
    async with PostgresCampaignStore.open(dsn, pool_size=10) as writer, PostgresCampaignStore.open(dsn) as reader:
        seen: list[int] = []
        is_over = asyncio.Event()

        async def read() -> None:
            while not is_over.is_set() or len(seen) < 100:
                for revision, _ in routed(await reader.routing_changes(seen[-1] if seen else 0, limit=7)):
                    seen.append(revision)

        reading = asyncio.create_task(read())
        await asyncio.gather(*(writer.insert(make(f"cmp_{i}"), actor="key:1") for i in range(100)))
        is_over.set()
        async with asyncio.timeout(10):
            await reading
        # Had a later revision become visible first, the reader would have passed over the one before it.
        assert seen == list(range(1, 101))


async def epoch_of(dsn: str) -> int:
    """Return the epoch of a database that a feed has listened to."""
    async with PostgresCampaignStore.open(dsn) as store, store.routing_wakeups():
        return (await store.routing_snapshot()).epoch


async def test_an_epoch_outlives_a_restart_and_ends_with_a_copy_of_the_database(
    postgres: PostgresServer, dsn: str
) -> None:
    first = await epoch_of(dsn)
    assert await epoch_of(dsn) == first
    copy = await postgres.create_database()
    await postgres.drop_database(copy)
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    await connection.execute(f"CREATE DATABASE {name_of(copy)} TEMPLATE {name_of(dsn)}")
    await connection.close()
    second = await epoch_of(copy)
    assert second > first
    assert await epoch_of(copy) == second
    assert await epoch_of(dsn) == first
    await postgres.drop_database(copy)


def name_of(dsn: str) -> str:
    """Return the database's name."""
    return dsn.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1]


async def test_a_role_that_may_not_see_the_cluster_keeps_the_epoch(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
    await connection.execute("CREATE ROLE plain LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO plain")
    try:
        plain = dsn.replace("postgres:@", "plain:@")
        async with PostgresCampaignStore.open(plain) as store, store.routing_wakeups() as wakeups:
            await store.insert(make("cmp_1"), actor="key:1")
            await wakeups.wait(2)
            assert routed(await store.routing_snapshot()) == [(1, "cmp_1")]
    finally:
        await connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO public")
        await connection.execute("DROP OWNED BY plain; DROP ROLE plain")
        await connection.close()
