"""The store in memory keeps the store's contract, so that what is tested on it holds."""

import pytest

from tests.contract.auth.memory_store import MemoryWardenStore
from tests.contract.auth.partner_contract import PartnerStoreContract
from tests.contract.auth.store_contract import WardenStoreContract


class TestMemoryWardenStore(WardenStoreContract, PartnerStoreContract):
    """The contract in memory."""

    @pytest.fixture
    def store(self) -> MemoryWardenStore:
        return MemoryWardenStore()
