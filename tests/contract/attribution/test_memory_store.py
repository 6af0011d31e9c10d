"""The store that contract tests use keeps the promises of the real one."""

import pytest

from attribution_svc.crediting.settings import ModelSettingsStore
from attribution_svc.store import CampaignStore, UsageStore
from tests.contract.attribution.claim_contract import ClaimStoreContract
from tests.contract.attribution.memory_settings import MemoryModelSettingsStore
from tests.contract.attribution.memory_store import MemoryCampaignStore, MemoryUsageStore
from tests.contract.attribution.settings_contract import ModelSettingsStoreContract
from tests.contract.attribution.store_contract import CampaignStoreContract
from tests.contract.attribution.usage_contract import UsageStoreContract


class TestMemoryCampaignStore(CampaignStoreContract, ClaimStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> CampaignStore:
        """An empty one."""
        return MemoryCampaignStore()


class TestMemoryUsageStore(UsageStoreContract):
    """In memory."""

    @pytest.fixture
    def usage(self) -> UsageStore:
        """An empty one."""
        return MemoryUsageStore()


class TestMemoryModelSettingsStore(ModelSettingsStoreContract):
    """In memory."""

    @pytest.fixture
    def settings(self) -> ModelSettingsStore:
        """An empty one."""
        return MemoryModelSettingsStore()
