"""From an edit on one replica to the watchers of another, through a real PostgreSQL that comes and goes."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest

from attribution_svc.store.postgres import PostgresCampaignStore
from svc_runtime.tasks import running
from tests.contract.attribution.rpc import Replica, Watcher, caller_of, running_replica
from tests.contract.attribution.test_watch_routing import until
from tests.postgres import PostgresServer
from trellis.attribution.v1 import attribution_service_pb2 as pb

pytestmark = pytest.mark.store


@pytest.fixture
async def replicas(dsn: str) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas on one database."""
    async with (
        PostgresCampaignStore.open(dsn) as first_store,
        PostgresCampaignStore.open(dsn) as second_store,
        running_replica(first_store) as first,
        running_replica(second_store) as second,
    ):
        yield first, second


async def test_a_change_on_one_replica_reaches_the_watchers_of_both(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    near, far = Watcher(), Watcher()
    async with running("near", near.follow(first.watch())), running("far", far.follow(second.watch())):
        await until(lambda: near.snapshot_count == far.snapshot_count == 1)
        started = time.monotonic()
        await first.create("sale")
        await until(lambda: near.slugs() == far.slugs() == {"sale"})
        # By notification, not by looking now and then.
        assert time.monotonic() - started < 0.5
        assert near.epoch == far.epoch


async def test_a_burst_of_concurrent_creates_arrives_whole_and_in_order(replicas: tuple[Replica, Replica]) -> None:
    watchers = [Watcher(), Watcher()]
    first, second = replicas
    async with (
        running("first", watchers[0].follow(first.watch())),
        running("second", watchers[1].follow(second.watch())),
    ):
        await until(lambda: all(watcher.snapshot_count == 1 for watcher in watchers))
        created = await asyncio.gather(*(replicas[i % 2].create(f"slug{i}") for i in range(200)))
        await until(lambda: all(watcher.revision == 200 for watcher in watchers))
    expected = {("org_a", campaign.campaign_id): campaign for campaign in created}
    assert len(expected) == 200
    for watcher in watchers:
        assert watcher.campaigns == expected
        assert watcher.snapshot_count == 1


async def test_changes_through_both_replicas_expecting_one_version_have_one_winner(
    replicas: tuple[Replica, Replica],
) -> None:
    campaign = await replicas[0].create("sale")
    request = pb.UpdateCampaignRequest(campaign_id=campaign.campaign_id, name="mine", expected_version=1)
    outcomes = await asyncio.gather(
        *(replicas[i % 2].stub.UpdateCampaign(request, metadata=caller_of("org_a")) for i in range(20)),
        return_exceptions=True,
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, pb.UpdateCampaignResponse)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert (len(won), len(lost)) == (1, 19)
    assert {error.code() for error in lost} == {grpc.StatusCode.FAILED_PRECONDITION}


async def test_a_cut_listening_connection_is_made_anew(replicas: tuple[Replica, Replica], dsn: str) -> None:
    watcher = Watcher()
    async with running("watch", watcher.follow(replicas[0].watch())):
        await until(lambda: watcher.snapshot_count == 1)
        connection = await asyncpg.connect(dsn)
        listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
        cut = await connection.fetch(f"SELECT pg_terminate_backend(pid) FROM ({listening}) AS l")
        assert len(cut) == 2
        async with asyncio.timeout(3):
            while len(await connection.fetch(listening)) < 2:  # noqa: ASYNC110 - it is another process that we wait for
                await asyncio.sleep(0.05)
        started = time.monotonic()
        await replicas[1].create("sale")
        await until(lambda: watcher.slugs() == {"sale"})
        assert time.monotonic() - started < 0.5
        await connection.close()


async def test_watches_outlive_postgres_and_hear_of_changes_once_it_is_back(own_postgres: PostgresServer) -> None:
    dsn = await own_postgres.create_database()
    async with PostgresCampaignStore.open(dsn) as store, running_replica(store) as replica:
        old, new = Watcher(), Watcher()
        async with running("old", old.follow(replica.watch())) as watching:
            campaign = await replica.create("before")
            await until(lambda: old.slugs() == {"before"})
            await asyncio.to_thread(own_postgres.stop)
            for call in (
                replica.stub.CreateCampaign(
                    pb.CreateCampaignRequest(destination_url="https://shop.example/"), metadata=caller_of("org_a")
                ),
                replica.stub.UpdateCampaign(
                    pb.UpdateCampaignRequest(campaign_id=campaign.campaign_id, name="x"), metadata=caller_of("org_a")
                ),
                replica.stub.GetCampaign(
                    pb.GetCampaignRequest(campaign_id=campaign.campaign_id), metadata=caller_of("org_a")
                ),
                replica.stub.ListCampaigns(pb.ListCampaignsRequest(), metadata=caller_of("org_a")),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            async with running("new", new.follow(replica.watch())):
                await until(lambda: new.slugs() == {"before"})
                await asyncio.sleep(1)
                assert not watching.done()
                await asyncio.to_thread(own_postgres.start)
                await replica.create("after")
                # Two seconds from the edit on, though the listening connection has to be made first.
                await until(lambda: old.slugs() == new.slugs() == {"before", "after"})
            assert old.snapshot_count == 1
            page = await replica.stub.ListCampaigns(pb.ListCampaignsRequest(), metadata=caller_of("org_a"))
            assert [item.slug for item in page.campaigns] == ["after", "before"]
