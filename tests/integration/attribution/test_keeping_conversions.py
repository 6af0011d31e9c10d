"""All that keeps conversions, wired as in the process: over PostgreSQL, with analytics_svc away."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest

from attribution_svc.conversions.assembly import keeping_conversions
from attribution_svc.store.postgres import PostgresCampaignStore
from svc_runtime.clock import SystemClock
from svc_runtime.grpc_client import Credentials
from svc_runtime.paging import PageTokens
from tests.contract.analytics.fake_capture import MESH, FakeCapture, serving
from tests.contract.attribution.conversion.store_contract import listed

pytestmark = pytest.mark.store


async def keep(stack: AsyncExitStack, dsn: str, capture_port: int) -> PostgresCampaignStore:
    """Run a replica's keeping of conversions until the stack is closed."""
    store = await stack.enter_async_context(PostgresCampaignStore.open(dsn))
    capture = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{capture_port}"))
    nobody = await stack.enter_async_context(grpc.aio.insecure_channel("127.0.0.1:1"))
    await stack.enter_async_context(
        keeping_conversions(
            store,
            capture=capture,
            analytics=nobody,
            credentials=Credentials(MESH, "test"),
            page_tokens=PageTokens("m" * 32, "attribution_svc"),
            clock=SystemClock(),
        )
    )
    return store


async def kept_count(store: PostgresCampaignStore) -> int:
    """Return how many events are in conversions."""
    found = [kept for number in range(3) for kept in await listed(store.conversions, f"org_{number}")]
    return sum(len(kept.conversion.event_ids) for kept in found)


async def until_kept(store: PostgresCampaignStore, count: int) -> None:
    async with asyncio.timeout(30):
        while await kept_count(store) != count:  # noqa: ASYNC110 - a store tells nobody
            await asyncio.sleep(0.05)


async def test_one_of_two_replicas_keeps_them_and_the_other_takes_over(dsn: str) -> None:
    fake = FakeCapture(seed=2)
    fake.put(100)
    async with serving(fake) as port, AsyncExitStack() as first, AsyncExitStack() as second:
        await keep(first, dsn, port)
        other = await keep(second, dsn, port)
        await until_kept(other, 20)
        assert len(fake.subscriptions) == 1
        await first.aclose()
        fake.put(50)
        await until_kept(other, 30)
        assert len(fake.subscriptions) == 2


async def test_conversions_are_kept_while_the_reading_is_away(dsn: str) -> None:
    fake = FakeCapture(seed=2)
    fake.put(100)
    async with serving(fake) as port, AsyncExitStack() as stack:
        store = await keep(stack, dsn, port)
        await until_kept(store, 20)
        states = {kept.match.state.value for kept in await listed(store.conversions, "org_1")}
        assert states == {"pending"}
