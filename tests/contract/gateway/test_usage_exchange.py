"""Workers tell each other what they counted against caps, through attribution_svc, whatever becomes of it meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from zoneinfo import ZoneInfo

import grpc
import pytest

from attribution_svc.campaigns.usage import Window
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


class Conversions:
    """Says how many there are, and counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0
        self.asked: list[Window] = []

    async def conversion_counts(self, windows: Sequence[Window]) -> list[int]:
        """See ``ConversionCounts.conversion_counts``."""
        self.asked += windows
        return [self.count] * len(windows)


@pytest.fixture
def conversions() -> Conversions:
    """None yet."""
    return Conversions()


@pytest.fixture
async def channel(
    store: Store, conversions: Conversions, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[grpc.aio.Channel]:
    """The way to attribution_svc."""
    monkeypatch.setattr(usage_module, "INTERVAL_SECONDS", 0.01)
    async with running_replica(MemoryCampaignStore(), usage=store, conversions=conversions) as replica:
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


async def test_a_cap_of_conversions_is_what_attribution_svc_counted(
    conversions: Conversions, channel: grpc.aio.Channel
) -> None:
    usage = Usage()
    cap = (Cap(rule_pb2.CAP_KIND_CONVERSIONS, rule_pb2.CAP_PERIOD_DAY, 3, ZoneInfo("Europe/Berlin")),)
    assert not usage.is_over("org_a", "a", cap, "usr_1", NOW_MS)
    usage.count("org_a", "a", cap, "usr_1", NOW_MS)
    exchange = UsageExchange(usage, channel, Credentials(MESH, "gateway"))
    async with running("1", exchange.run(lambda: NOW_MS)):
        await until(lambda: bool(conversions.asked))
        assert not usage.is_over("org_a", "a", cap, "usr_1", NOW_MS), "a click is no conversion"
        conversions.count = 3

        def is_over() -> bool:
            return usage.is_over("org_a", "a", cap, "usr_1", NOW_MS)

        for _ in range(500):
            if is_over():
                break
            await asyncio.sleep(0.01)
        assert is_over()
    window = conversions.asked[0]
    assert (window.organization_id, window.campaign_id, window.period) == ("org_a", "a", "day")
    assert window.start_time.isoformat() == "2026-03-01T23:00:00+00:00"
    assert len(conversions.asked) <= 5, "workers ask often, the store is asked once a second"
