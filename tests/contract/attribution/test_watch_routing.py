"""What gateways are told, over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from attribution_svc.campaigns.campaign import CampaignChange, CampaignStatus
from attribution_svc.campaigns.routing_feed import RoutingFeed
from svc_runtime.tasks import running
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.rpc import Replica, Watcher, running_replica
from tests.contract.attribution.store_contract import ARCHIVE, changing, make
from trellis.attribution.v1 import attribution_service_pb2 as pb

pytestmark = pytest.mark.loopback


@pytest.fixture
def store() -> MemoryCampaignStore:
    """An empty store."""
    return MemoryCampaignStore()


@pytest.fixture
async def replica(store: MemoryCampaignStore) -> AsyncIterator[Replica]:
    """A server on it, whose feed looks for changes by itself only every minute."""
    async with running_replica(store, feed=RoutingFeed(store, poll_seconds=60)) as replica:
        yield replica


async def until(condition: Callable[[], bool], *, seconds: float = 2.0) -> None:
    """Wait until it is so; fail when it takes longer."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is on the other side of a socket
            await asyncio.sleep(0.005)


async def test_a_watch_begins_with_a_snapshot_even_of_nothing(replica: Replica) -> None:
    message = await anext(aiter(replica.watch()))
    assert (message.is_snapshot, message.revision, message.epoch, len(message.campaigns)) == (True, 0, 1, 0)


async def test_a_snapshot_has_all_organisations_campaigns_but_the_archived(
    replica: Replica, store: MemoryCampaignStore
) -> None:
    await store.insert(make("one"), actor="")
    await store.insert(make("two", organization_id="org_b"), actor="")
    await store.insert(make("three"), actor="")
    await store.update("org_a", "three", ARCHIVE, actor="")
    watcher = Watcher()
    async with running("watch", watcher.follow(replica.watch())):
        await until(lambda: watcher.slugs() == {"one", "two"})
        assert watcher.revision == 4


async def test_every_kind_of_change_arrives(replica: Replica, store: MemoryCampaignStore) -> None:
    watcher = Watcher()
    async with running("watch", watcher.follow(replica.watch())):
        await until(lambda: watcher.snapshot_count == 1)
        await replica.create("sale", campaign_id="one")
        await until(lambda: watcher.slugs() == {"sale"})
        pause = CampaignChange(status=CampaignStatus.PAUSED, slug="closed")
        await store.update("org_a", "one", changing(pause), actor="")
        await until(lambda: watcher.slugs() == {"closed"})
        assert watcher.campaigns["org_a", "one"].status == pb.CAMPAIGN_STATUS_PAUSED
        assert watcher.campaigns["org_a", "one"].version == 2
        await store.update("org_a", "one", ARCHIVE, actor="")
        await until(lambda: not watcher.campaigns)
        assert watcher.snapshot_count == 1


async def test_two_watchers_get_the_same(replica: Replica) -> None:
    first, second = Watcher(), Watcher()
    async with running("first", first.follow(replica.watch())), running("second", second.follow(replica.watch())):
        for number in range(20):
            await replica.create(f"slug{number}")
        await until(lambda: first.revision == second.revision == 20)
        assert first.campaigns == second.campaigns
        assert len(first.campaigns) == 20


async def test_a_watcher_that_does_not_read_holds_nobody_up_and_gets_everything_at_last(
    replica: Replica, store: MemoryCampaignStore
) -> None:
    slow_messages = aiter(replica.watch())
    slow, quick = Watcher(), Watcher()
    slow.apply(await anext(slow_messages))
    async with running("quick", quick.follow(replica.watch())):
        for number in range(300):
            await store.insert(make(f"cmp_{number}"), actor="")
            await store.update("org_a", f"cmp_{number}", changing(CampaignChange(name="n" * 200)), actor="")
        await until(lambda: quick.revision == 600)
    async with running("slow", slow.follow(slow_messages)):
        await until(lambda: slow.revision == 600)
        assert slow.campaigns == quick.campaigns


async def test_a_burst_too_large_for_one_message_comes_in_pieces(replica: Replica, store: MemoryCampaignStore) -> None:
    watcher = Watcher()
    async with running("watch", watcher.follow(replica.watch())):
        await until(lambda: watcher.snapshot_count == 1)
        for number in range(2500):
            await store.insert(make(f"cmp_{number}"), actor="")
        await until(lambda: len(watcher.campaigns) == 2500, seconds=5)
        assert watcher.snapshot_count == 1


async def test_a_watcher_behind_what_is_remembered_gets_a_snapshot(store: MemoryCampaignStore) -> None:
    feed = RoutingFeed(store, poll_seconds=60, remembered_archived=2)
    updates = feed.watch("slow")
    async with running("feed", feed.run()):
        assert (await anext(updates)).is_snapshot
        for number in range(4):
            await store.insert(make(f"cmp_{number}"), actor="")
        seen = await anext(updates)
        assert (seen.is_snapshot, len(seen.campaigns)) == (False, 4)
        for number in range(3):
            await store.update("org_a", f"cmp_{number}", ARCHIVE, actor="")
            await asyncio.sleep(0.01)
        whole = await anext(updates)
        assert whole.is_snapshot
        assert [campaign.campaign_id for campaign in whole.campaigns] == ["cmp_3"]
    await updates.aclose()


async def test_a_new_epoch_begins_with_a_snapshot_in_the_same_stream(
    replica: Replica, store: MemoryCampaignStore
) -> None:
    watcher = Watcher()
    async with running("watch", watcher.follow(replica.watch())):
        for number in range(3):
            await store.insert(make(f"cmp_{number}"), actor="")
        await until(lambda: watcher.revision == 3)
        store.begin_epoch()
        await until(lambda: watcher.epoch == 2)
        assert not watcher.campaigns
        await store.insert(make("cmp_new"), actor="")
        await until(lambda: watcher.slugs() == {"cmp_new"})
        assert watcher.revision == 1


async def test_while_the_store_is_down_watches_stay_and_new_ones_get_what_is_known(
    replica: Replica, store: MemoryCampaignStore
) -> None:
    old, new = Watcher(), Watcher()
    async with running("old", old.follow(replica.watch())):
        await store.insert(make("one"), actor="")
        await until(lambda: old.revision == 1)
        store.stop()
        async with running("new", new.follow(replica.watch())):
            await until(lambda: new.slugs() == {"one"})
            store.start()
            await store.insert(make("two"), actor="")
            await until(lambda: old.slugs() == new.slugs() == {"one", "two"})
        assert old.snapshot_count == 1


async def test_a_watch_that_begins_before_the_store_is_there_waits_for_it() -> None:
    store = MemoryCampaignStore()
    store.stop()
    async with running_replica(store) as replica:
        watcher = Watcher()
        async with running("watch", watcher.follow(replica.watch())) as task:
            await asyncio.sleep(0.3)
            assert not task.done()
            assert not watcher.snapshot_count
            store.start()
            await until(lambda: watcher.snapshot_count == 1)


async def test_a_change_that_nobody_announced_is_found_within_a_second(store: MemoryCampaignStore) -> None:
    async with running_replica(store) as replica:
        watcher = Watcher()
        async with running("watch", watcher.follow(replica.watch())):
            await until(lambda: watcher.snapshot_count == 1)
            store._wake = lambda: None  # type: ignore[method-assign]  # a lost notification
            await store.insert(make("one"), actor="")
            await until(lambda: watcher.slugs() == {"one"}, seconds=1.5)


async def test_leaving_ends_watches_at_once_as_unavailable(store: MemoryCampaignStore) -> None:
    async with running_replica(store) as replica:
        messages = aiter(replica.watch())
        await anext(messages)
        replica.feed.close()
        async with asyncio.timeout(1):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(messages)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await replica.server.stop()


async def test_a_watcher_that_goes_away_is_forgotten(replica: Replica, store: MemoryCampaignStore) -> None:
    call = replica.watch()
    messages = aiter(call)
    await anext(messages)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await anext(messages)
    await replica.create("sale")
    watcher = Watcher()
    async with running("watch", watcher.follow(replica.watch())):
        await until(lambda: watcher.slugs() == {"sale"})
