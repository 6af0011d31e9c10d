"""Workers tell each other what they counted against caps, through attribution_svc, whatever becomes of it meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from zoneinfo import ZoneInfo

import grpc
import pytest

from ingress_gateway import usage as usage_module
from ingress_gateway.usage import Cap, Usage, UsageExchange
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.tasks import running
from tests.contract.attribution.memory_store import MemoryCampaignStore, MemoryUsageStore
from tests.contract.attribution.rpc import running_replica
from tests.contract.gateway.capture import MESH
from tests.unit.gateway.journals import until
from trellis.attribution.v1 import rule_pb2

pytestmark = pytest.mark.loopback
NOW_MS = 1_772_452_800_000
UTC_ZONE = ZoneInfo("UTC")
CAPS = (
    Cap(rule_pb2.CAP_KIND_CLICKS, rule_pb2.CAP_PERIOD_DAY, 10, UTC_ZONE),
    Cap(rule_pb2.CAP_KIND_UNIQUES, rule_pb2.CAP_PERIOD_TOTAL, 5, UTC_ZONE),
)


class Store(MemoryUsageStore):
    """Fails a few times after it has counted: the answer is lost."""

    failures = 0

    async def exchange(self, exchange: object) -> list[int]:
        """See ``UsageStore.exchange``."""
        totals = await super().exchange(exchange)  # type: ignore[arg-type]  # as it came
        if self.failures:
            self.failures -= 1
            raise UnavailableError("lost")
        return totals


@pytest.fixture
async def store() -> Store:
    """One for all workers."""
    return Store()


@pytest.fixture
async def channel(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[grpc.aio.Channel]:
    """The way to attribution_svc."""
    monkeypatch.setattr(usage_module, "INTERVAL_SECONDS", 0.01)
    async with running_replica(MemoryCampaignStore(), usage=store) as replica:
        yield replica.channel


def click(usage: Usage, user_id: str) -> bool:
    """Route a click if no cap is in the way."""
    if usage.is_over("org_a", "a", CAPS, user_id, NOW_MS):
        return False
    usage.count("org_a", "a", CAPS, user_id, NOW_MS)
    return True


async def test_a_cap_is_one_for_all_workers(store: Store, channel: grpc.aio.Channel) -> None:
    first, second = Usage(), Usage()
    exchanges = [UsageExchange(usage, channel, Credentials(MESH, "gateway")) for usage in (first, second)]
    for number in range(3):
        assert click(first, f"usr_{number}")
    assert click(second, "usr_2")
    assert click(second, "usr_3")
    store.failures = 3  # each is told again under its number
    async with running("1", exchanges[0].run(lambda: NOW_MS)), running("2", exchanges[1].run(lambda: NOW_MS)):

        async def both_know() -> bool:
            for usage in (first, second):
                usage.is_over("org_a", "a", CAPS, "usr_0", NOW_MS)
            return [count.sum for usage in (first, second) for count in usage._counts.values()] == [5, 4, 5, 4]

        await until(lambda: store.failures == 0)
        for _ in range(500):
            if await both_know():
                break
            await asyncio.sleep(0.01)
        assert await both_know(), "five clicks of four visitors, told once each"
    assert click(second, "usr_4")
    assert not click(second, "usr_5"), "the fifth visitor was the last"
    assert click(second, "usr_4")
    assert [click(first, "usr_0") for _ in range(6)] == [True] * 5 + [False]
