"""What every UsageStore must do. Subclass it and give it a ``usage`` fixture."""

import asyncio
from datetime import UTC, datetime

from attribution_svc.campaigns.usage import Exchange, Usage, Window
from attribution_svc.store import UsageStore

HOUR = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVER = datetime(1970, 1, 1, tzinfo=UTC)


def clicks(campaign_id: str = "a", organization_id: str = "org_a") -> Window:
    """Return a window of clicks."""
    return Window(organization_id, campaign_id, "clicks", "hour", HOUR)


UNIQUES = Window("org_a", "a", "uniques", "total", EVER)


def told(gateway: str, number: int, *usages: Usage) -> Exchange:
    """Return an exchange."""
    return Exchange(gateway * 32, number, usages)


class UsageStoreContract:
    """The suite."""

    async def test_workers_hear_of_each_other(self, usage: UsageStore) -> None:
        assert await usage.exchange(told("1", 1, Usage(clicks(), 3, ()))) == [3]
        assert await usage.exchange(told("2", 1, Usage(clicks(), 4, ()), Usage(clicks("b"), 1, ()))) == [7, 1]
        assert await usage.exchange(told("1", 2, Usage(clicks(), 0, ()), Usage(clicks("c"), 0, ()))) == [7, 0]
        assert await usage.exchange(told("1", 3, Usage(clicks("a", "org_b"), 1, ()))) == [1]

    async def test_an_exchange_that_is_repeated_counts_once(self, usage: UsageStore) -> None:
        exchange = told("1", 1, Usage(clicks(), 3, ()), Usage(UNIQUES, 0, (1, 2)))
        assert await usage.exchange(exchange) == [3, 2]
        assert await usage.exchange(exchange) == [3, 2]
        assert await usage.exchange(told("1", 2, Usage(clicks(), 1, ()))) == [4]
        assert await usage.exchange(exchange) == [4, 2]

    async def test_a_visitor_counts_once_whoever_tells_of_it(self, usage: UsageStore) -> None:
        assert await usage.exchange(told("1", 1, Usage(UNIQUES, 0, (1, -(2**63), 2**63 - 1)))) == [3]
        assert await usage.exchange(told("2", 1, Usage(UNIQUES, 0, (1, 2)))) == [4]

    async def test_many_workers_at_once_lose_nothing(self, usage: UsageStore) -> None:
        windows = [clicks(f"c{number}") for number in range(5)]

        async def work(worker: int) -> None:
            for number in range(1, 11):
                order = windows if worker % 2 else windows[::-1]
                await usage.exchange(told(f"{worker}", number, *(Usage(window, 2, ()) for window in order)))

        await asyncio.gather(*(work(worker) for worker in range(1, 6)))
        assert await usage.exchange(told("9", 1, *(Usage(window, 0, ()) for window in windows))) == [100] * 5
