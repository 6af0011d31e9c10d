"""Operations, what is known of the reading, and retention, in ClickHouse."""

from collections.abc import AsyncIterator, Callable

import pytest

from analytics_svc.operation import State
from analytics_svc.retention import DEFAULT_DAYS, Retentions
from analytics_svc.store.clickhouse import MIGRATIONS
from analytics_svc.store.connect import connect
from analytics_svc.store.operations import ClickHouseOperationStore
from analytics_svc.store.projection import ClickHouseProjection
from svc_runtime.clickhouse import ClickHouse, Dsn
from svc_runtime.clickhouse_migrations import migrate
from tests.contract.analytics.operation_store_contract import OperationStoreContract, operation

pytestmark = pytest.mark.store


@pytest.fixture
async def clickhouse(make_dsn: Callable[[], Dsn]) -> AsyncIterator[ClickHouse]:
    """Return a migrated database."""
    found = connect(make_dsn())
    await migrate(found, MIGRATIONS)
    yield found
    await found.close()


@pytest.fixture
def store(clickhouse: ClickHouse) -> ClickHouseOperationStore:
    """Return an empty store."""
    return ClickHouseOperationStore(clickhouse)


class TestClickHouseOperationStore(OperationStoreContract):
    """On chDB."""


async def test_the_last_change_counts_after_a_restart_too(
    clickhouse: ClickHouse, store: ClickHouseOperationStore
) -> None:
    for done_events in range(20):
        await store.put(operation(done_events=done_events))
    await store.put(operation(state=State.CANCELLED))
    again = ClickHouseOperationStore(clickhouse)
    found = await again.get("op_1")
    assert found is not None
    assert found.state is State.CANCELLED
    assert await again.open() == []


async def test_an_organisation_keeps_what_it_was_told_and_else_what_everybody_keeps(clickhouse: ClickHouse) -> None:
    retentions = Retentions(ClickHouseProjection(clickhouse))
    assert await retentions.set("org_a", 30) == 30
    assert (await retentions.read()).of("org_b") == DEFAULT_DAYS
    assert await retentions.set("", 400) == 400
    assert (await retentions.read()).of("org_b") == 400
    assert (await retentions.read()).of("org_a") == 30
    assert await retentions.set("org_a", 0) == 400
    assert await retentions.set("", 0) == DEFAULT_DAYS
