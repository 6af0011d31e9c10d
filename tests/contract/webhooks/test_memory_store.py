"""The stores of webhooks in memory keep the promises of the real ones."""

from collections.abc import Sequence

import pytest

from attribution_svc.webhooks.change import Change
from tests.contract.webhooks.memory_store import MemoryDeliveryQueue, MemoryWebhookStore
from tests.contract.webhooks.queue_contract import DeliveryQueueContract, Log
from tests.contract.webhooks.store_contract import WebhookStoreContract


@pytest.fixture
def store() -> MemoryWebhookStore:
    """An empty one."""
    return MemoryWebhookStore()


@pytest.fixture
def queue(store: MemoryWebhookStore) -> MemoryDeliveryQueue:
    """The queue beside it."""
    return MemoryDeliveryQueue(store)


@pytest.fixture
def log(queue: MemoryDeliveryQueue) -> Log:
    """Write changes as the conversions' store does."""

    async def write(changes: Sequence[Change]) -> None:
        queue.log += changes

    return write


class TestMemoryWebhookStore(WebhookStoreContract):
    """In memory."""


class TestMemoryDeliveryQueue(DeliveryQueueContract):
    """In memory."""
