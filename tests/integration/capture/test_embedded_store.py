"""The stores on the embedded ClickHouse keep what they promise."""

import pytest

from tests.contract.capture.store_contract import StoreContract

pytestmark = pytest.mark.store


class TestEmbeddedStore(StoreContract):
    """On chDB."""
