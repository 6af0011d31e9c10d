"""The stores on a ClickHouse server, over HTTP, keep what they promise."""

from collections.abc import AsyncIterator

import pytest

from capture_svc.assembly import Stores
from svc_runtime.clickhouse import Dsn
from tests.contract.capture.store_contract import StoreContract
from tests.integration.capture.conftest import opened

pytestmark = [pytest.mark.store, pytest.mark.loopback]


class TestHttpStore(StoreContract):
    """Over HTTP."""

    @pytest.fixture
    async def stores(self, http_dsn: Dsn) -> AsyncIterator[Stores]:
        """Open stores on an empty database of the server."""
        async with opened(http_dsn, is_shared=True) as found:
            yield found
