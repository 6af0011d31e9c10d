"""One replica keeps the conversions, and another takes over."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from attribution_svc.store.postgres import PostgresCampaignStore
from svc_runtime.errors import UnavailableError

pytestmark = pytest.mark.store
LOCK = 4711


async def test_one_leads_at_a_time_and_the_other_takes_over_when_it_leaves(dsn: str) -> None:
    async with PostgresCampaignStore.open(dsn) as store, AsyncExitStack() as stack:
        await stack.enter_async_context(store.database.leading(LOCK))
        async with store.database.leading(LOCK + 1):
            pass  # another matter
        second = asyncio.create_task(stack.enter_async_context(store.database.leading(LOCK)))
        await asyncio.sleep(1.5)
        assert not second.done()
        await stack.pop_all().aclose()
        async with asyncio.timeout(10):
            await second


async def test_who_lost_its_connection_hears_of_it_and_leads_no_more(dsn: str) -> None:
    async with PostgresCampaignStore.open(dsn) as store, store.database.leading(LOCK) as lead:
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1", LOCK
        )
        await connection.close()
        async with asyncio.timeout(10):
            with pytest.raises(UnavailableError):
                await lead.lost()
            async with store.database.leading(LOCK):
                pass
