"""What the dispatcher does when things go wrong that nobody foresaw."""

from datetime import datetime, timedelta

from attribution_svc.webhooks.attempt import DeliveryState, Failure, Outcome
from attribution_svc.webhooks.dispatcher import Dispatcher, DispatchLimits
from attribution_svc.webhooks.sender import Outgoing
from attribution_svc.webhooks.vault import Vault
from tests.contract.webhooks.memory_store import MemoryDeliveryQueue, MemoryWebhookStore
from tests.contract.webhooks.things import NOW, make_delivery, make_limits, make_webhook


class BrokenSender:
    """Has a defect."""

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Raise what nobody catches."""
        raise OverflowError("a defect")


class StandingClock:
    """It is always the same time."""

    def now(self) -> datetime:
        """Return it."""
        return NOW


async def test_an_attempt_with_a_defect_is_written_down_and_counts() -> None:
    store = MemoryWebhookStore()
    queue = MemoryDeliveryQueue(store)
    webhook = make_webhook()
    await store.insert(webhook, actor="key:1", most=5)
    await queue.add([make_delivery("msg_1", webhook)])
    dispatcher = Dispatcher(
        queue, BrokenSender(), Vault("m" * 32), clock=StandingClock(), limits=DispatchLimits(), jitter=lambda: 1.0
    )
    (claim,) = await queue.claim(make_limits(), now=NOW)
    await dispatcher.attempt(claim)
    delivery = await queue.get("org_a", "wh_1", "msg_1")
    assert (delivery.state, delivery.next_attempt_time) == (DeliveryState.FAILED, NOW + timedelta(seconds=10))
    assert [attempt.outcome.failure for attempt in delivery.attempts] == [Failure.INTERNAL]
