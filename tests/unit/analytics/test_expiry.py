"""When old events leave: the store is a list of what it was asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

from analytics_svc.expiry import Expiry
from analytics_svc.retention import Retentions
from svc_runtime.tasks import running

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


class MemoryRetentions:
    async def put_retention(self, organization_id: str, days: int) -> None:
        raise NotImplementedError

    async def retention_days(self) -> Mapping[str, int]:
        return {"org_a": 30}


class AskedStore:
    def __init__(self) -> None:
        self.asked: list[object] = []
        self.is_locked = False
        self.is_done = asyncio.Event()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        self.is_locked = True
        yield
        self.is_locked = False

    async def expire(self, cuts: Mapping[str, datetime]) -> int:
        assert self.is_locked
        self.asked.append(dict(cuts))
        return 3

    async def tier(self, volume: str, after_days: int) -> None:
        self.asked.append((volume, after_days))
        self.is_done.set()


async def test_at_start_what_is_too_old_leaves_while_nobody_writes_and_the_rest_gets_its_place() -> None:
    store = AskedStore()
    expiry = Expiry(
        store,
        Retentions(MemoryRetentions(), default_days=90),
        clock=FixedClock(),
        writing=store.writing,
        tier_volume="cold",
        tier_after_days=7,
    )
    async with running("expiry", expiry.run()):
        await asyncio.wait_for(store.is_done.wait(), 5)
    cuts = {"": datetime(2026, 8, 22, tzinfo=UTC), "org_a": datetime(2026, 10, 21, tzinfo=UTC)}
    assert store.asked == [cuts, ("cold", 7)]
