"""How far back a webhook can be told of what it has not heard of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from attribution_svc.webhooks import registry as registry_module
from attribution_svc.webhooks.attempt import Outcome
from attribution_svc.webhooks.change import Change, Click, Touch
from attribution_svc.webhooks.dispatcher import Dispatcher, DispatchLimits
from attribution_svc.webhooks.guard import Guard
from attribution_svc.webhooks.planner import Planner
from attribution_svc.webhooks.registry import WebhookRegistry
from attribution_svc.webhooks.sender import Outgoing
from attribution_svc.webhooks.vault import Vault
from svc_runtime.errors import InvalidArgumentError
from svc_runtime.paging import PageTokens
from tests.contract.webhooks.memory_store import MemoryDeliveryQueue, MemoryWebhookStore
from tests.contract.webhooks.things import NOW, make_change, make_webhook

LOG_DAYS = 30
EARLIEST = NOW - timedelta(days=LOG_DAYS)


class TurnedClock:
    """It is what the test says."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        """Return it."""
        return self.time


class NoClicks:
    """Knows none."""

    async def of(self, changes: Sequence[Change]) -> Mapping[Touch, Click]:
        """Return none."""
        return {}


class NoSender:
    """Sends nothing."""

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Nobody asks."""
        raise NotImplementedError


@pytest.fixture
def clock() -> TurnedClock:
    """Eight in the morning."""
    return TurnedClock()


@pytest.fixture
async def registry(clock: TurnedClock) -> WebhookRegistry:
    """A webhook `wh_1`, and changes of 32, 30, 29 and 1 days ago."""
    store = MemoryWebhookStore()
    queue = MemoryDeliveryQueue(store)
    await store.insert(make_webhook(), actor="key:1", most=5)
    ages = (LOG_DAYS + 2, LOG_DAYS, LOG_DAYS - 1, 1)
    queue.log = [
        replace(make_change(number), change_time=NOW - timedelta(days=age)) for number, age in enumerate(ages, start=1)
    ]
    vault, limits = Vault("m" * 32), DispatchLimits(log_days=LOG_DAYS)
    return WebhookRegistry(
        store,
        queue,
        Planner(store, queue, NoClicks(), clock=clock),
        Dispatcher(queue, NoSender(), vault, clock=clock, limits=limits),
        vault,
        Guard((), ()),
        PageTokens("m" * 32, "test"),
        clock=clock,
        limits=limits,
    )


async def fill(registry: WebhookRegistry, start_time: datetime | None, page_token: str = "") -> tuple[int, str]:
    """Fill `wh_1` from some time on."""
    return await registry.backfill("wh_1", start_time, None, organization_id="org_a", page_token=page_token)


async def test_it_goes_back_as_far_as_deliveries_are_remembered(registry: WebhookRegistry) -> None:
    assert await fill(registry, None) == (3, "")


async def test_what_is_older_is_refused_with_the_limit(registry: WebhookRegistry) -> None:
    with pytest.raises(InvalidArgumentError, match=r"start_time: is 2026-10-20.*30 days"):
        await fill(registry, EARLIEST - timedelta(days=1))
    assert await fill(registry, EARLIEST) == (3, "")


async def test_a_page_later_it_is_still_right(
    registry: WebhookRegistry, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MOST_BACKFILLED", 2)
    count, page_token = await fill(registry, EARLIEST)
    clock.time += timedelta(hours=1)
    assert count == 2
    assert await fill(registry, EARLIEST, page_token) == (1, "")
