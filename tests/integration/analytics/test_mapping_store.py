"""Mappings in a real ClickHouse."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from analytics_svc.store import MappingStore
from analytics_svc.store.mappings import ClickHouseMappingStore
from svc_runtime.clickhouse import Dsn
from tests.contract.analytics.mapping_store_contract import ACME, NOW, MappingStoreContract, version
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store


@pytest.fixture(scope="module")
def mappings_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dsn, "Client"]]:
    """An empty reading."""
    with reading(tmp_path_factory.mktemp("mappings")) as found:
        yield found


@pytest.fixture
async def store(mappings_dsn: tuple[Dsn, "Client"]) -> AsyncIterator[MappingStore]:
    """An empty store."""
    dsn, client = mappings_dsn
    for table in ("mappings", "mapping_activations"):
        client.command(f"TRUNCATE TABLE {table}")
    async with ClickHouseMappingStore.open(dsn) as store:
        yield store


class TestClickHouseMappingStore(MappingStoreContract):
    """In ClickHouse."""


async def test_every_activation_is_kept_with_its_actor(store: MappingStore, mappings_dsn: tuple[Dsn, "Client"]) -> None:
    await store.add(version("map_1"))
    await store.activate(ACME, "map_1", 0, actor="key:nobody", now=NOW)
    await store.activate(ACME, "map_1", 1, actor="key:anna", now=NOW)
    await store.activate(ACME, "map_1", 1, actor="key:again", now=NOW)
    await store.activate(ACME, "map_1", 0, actor="key:bert", now=NOW)
    rows = mappings_dsn[1].query(
        "SELECT revision, version, actor, toUnixTimestamp64Milli(activate_time) FROM mapping_activations ORDER BY 1"
    )
    milliseconds = int(NOW.timestamp() * 1000)
    assert rows.result_rows == [(1, 1, "key:anna", milliseconds), (2, 0, "key:bert", milliseconds)]
