"""A capture_svc on stores in memory."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.capture.memory_store import Memory
from tests.contract.capture.things import CaptureClient, running_capture


@pytest.fixture
def memory() -> Memory:
    """Return empty stores."""
    return Memory()


@pytest.fixture
async def capture(memory: Memory) -> AsyncIterator[CaptureClient]:
    """Run a capture_svc on them."""
    async with running_capture(memory.stores()) as client:
        yield client
