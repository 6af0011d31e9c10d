"""The stores in memory keep what they promise."""

import pytest

from capture_svc.assembly import Stores
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    """In memory."""

    @pytest.fixture
    def stores(self) -> Stores:
        """Return new ones."""
        return Memory().stores()
