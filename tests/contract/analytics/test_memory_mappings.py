import pytest

from analytics_svc.store import MappingStore
from tests.contract.analytics.mapping_store_contract import MappingStoreContract
from tests.contract.analytics.memory_mappings import MemoryMappingStore


class TestMemoryMappingStore(MappingStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> MappingStore:
        """An empty one."""
        return MemoryMappingStore()
