"""The store that contract tests use keeps the promises of the real one."""

import pytest

from attribution_svc.conversions.book import ConversionStore
from tests.contract.attribution.conversion.memory_conversions import MemoryConversionStore
from tests.contract.attribution.conversion.store_contract import ConversionStoreContract


class TestMemoryConversionStore(ConversionStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self) -> ConversionStore:
        """An empty one."""
        return MemoryConversionStore()
