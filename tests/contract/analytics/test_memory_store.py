"""The store that contract tests use keeps the promises of the real one."""

import pytest

from analytics_svc.store import ReadingStore
from tests.contract.analytics.memory_store import MemoryReadingStore
from tests.contract.analytics.store_contract import ReadingStoreContract


class TestMemoryReadingStore(ReadingStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> ReadingStore:
        """An empty one."""
        return MemoryReadingStore()
