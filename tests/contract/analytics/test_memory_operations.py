"""The store of operations in memory keeps what it promises."""

import pytest

from tests.contract.analytics.memory_operations import MemoryOperationStore
from tests.contract.analytics.operation_store_contract import OperationStoreContract


class TestMemoryOperationStore(OperationStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> MemoryOperationStore:
        """Return an empty one."""
        return MemoryOperationStore()
