"""What the dispatcher does when things go wrong that nobody foresaw."""

import contextlib
from datetime import datetime, timedelta

import pytest

from attribution_svc.webhooks.attempt import DeliveryState, Failure, Outcome
from attribution_svc.webhooks.dispatcher import Dispatcher, DispatchLimits
from attribution_svc.webhooks.sender import Outgoing
from attribution_svc.webhooks.store import Backlog
from attribution_svc.webhooks.vault import Vault
from svc_runtime.errors import RateLimitedError, UnavailableError
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


class UncountedQueue(MemoryDeliveryQueue):
    """Takes too long to count."""

    async def backlog(self, *, now: datetime) -> Backlog:
        """Raise."""
        raise UnavailableError("the statement took too long")


class UnsweptQueue(MemoryDeliveryQueue):
    """Takes too long to sweep."""

    is_counted = False

    async def sweep(self, *, now: datetime, forget_before: datetime) -> int:
        """Raise."""
        raise UnavailableError("the statement took too long")

    async def backlog(self, *, now: datetime) -> Backlog:
        """Note it."""
        self.is_counted = True
        return await super().backlog(now=now)


def make_dispatcher(queue: MemoryDeliveryQueue) -> Dispatcher:
    """Return one whose sender has a defect."""
    limits = DispatchLimits()
    return Dispatcher(queue, BrokenSender(), Vault("m" * 32), clock=StandingClock(), limits=limits, jitter=lambda: 1.0)


async def test_what_cannot_be_counted_is_swept_nevertheless() -> None:
    store = MemoryWebhookStore()
    queue = UncountedQueue(store)
    webhook = make_webhook()
    await store.insert(webhook, actor="key:1", most=5)
    await queue.add([make_delivery("msg_1", webhook, age=webhook.definition.max_age)])
    await make_dispatcher(queue).sweep_once()
    assert (await queue.get("org_a", "wh_1", "msg_1")).state is DeliveryState.DEAD


async def test_what_cannot_be_swept_is_counted_nevertheless() -> None:
    queue = UnsweptQueue(MemoryWebhookStore())
    await make_dispatcher(queue).sweep_once()
    assert queue.is_counted


def test_tests_of_one_organisation_have_little_room_at_a_time() -> None:
    dispatcher = make_dispatcher(MemoryDeliveryQueue(MemoryWebhookStore()))
    most = DispatchLimits().most_per_webhook
    with contextlib.ExitStack() as stack:
        for _ in range(most):
            stack.enter_context(dispatcher.room_for_test("org_a"))
        with pytest.raises(RateLimitedError), dispatcher.room_for_test("org_a"):
            pass
        stack.enter_context(dispatcher.room_for_test("org_b"))
    with dispatcher.room_for_test("org_a"):
        pass


async def test_an_attempt_with_a_defect_is_written_down_and_counts() -> None:
    store = MemoryWebhookStore()
    queue = MemoryDeliveryQueue(store)
    webhook = make_webhook()
    await store.insert(webhook, actor="key:1", most=5)
    await queue.add([make_delivery("msg_1", webhook)])
    (claim,) = await queue.claim(make_limits(), now=NOW)
    await make_dispatcher(queue).attempt(claim)
    delivery = await queue.get("org_a", "wh_1", "msg_1")
    assert (delivery.state, delivery.next_attempt_time) == (DeliveryState.FAILED, NOW + timedelta(seconds=10))
    assert [attempt.outcome.failure for attempt in delivery.attempts] == [Failure.INTERNAL]
