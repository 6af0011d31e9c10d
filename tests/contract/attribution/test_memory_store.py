"""The store that contract tests use keeps the promises of the real one."""

import pytest

from attribution_svc.store import CampaignStore
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.store_contract import CampaignStoreContract


class TestMemoryCampaignStore(CampaignStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> CampaignStore:
        """An empty one."""
        return MemoryCampaignStore()
