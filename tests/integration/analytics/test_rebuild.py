"""The reading made again from the raw events, in a real engine."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from analytics_svc import operations as operations_module
from analytics_svc.operation import State
from analytics_svc.store.connect import open_client
from svc_runtime.clickhouse import Dsn, parse_dsn
from tests.integration.analytics.rebuilding import Site, site, traffic
from tests.integration.analytics.rollup_check import assert_rollups_agree

pytestmark = [pytest.mark.store, pytest.mark.loopback]
START = datetime(2026, 1, 25, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations_module, "WATCH_SECONDS", 0.02)


@pytest.fixture
def dsns(make_dsn: Callable[[], Dsn]) -> tuple[Dsn, Dsn]:
    """Return two databases of one engine: of raw events, and of the reading."""
    dsn = make_dsn()
    return parse_dsn(f"chdb://{dsn.path}", default_database=f"{dsn.database}_raw"), dsn


@pytest.fixture
async def running(dsns: tuple[Dsn, Dsn]) -> AsyncIterator[Site]:
    """Run all of it."""
    async with site(*dsns) as found:
        yield found


def check(found: Site) -> None:
    """Check what must hold at all times."""
    count, unique = found.query("SELECT count(), uniqExact(event_id) FROM events")[0]
    assert count == unique
    client = open_client(found.dsn)
    try:
        assert_rollups_agree(client)
    finally:
        client.close()
    assert found.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'made_%_own'"
    ) == [(0,)]


async def test_a_rebuild_gives_the_same_rows_and_the_same_counts(running: Site) -> None:
    events = traffic(3000, seed=1, start=START, days=70)
    await running.send(events)
    await running.followed(3000)
    before = running.checksums()
    operation = await running.over(await running.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED, operation.error
    assert operation.done_events == operation.total_events == 3000
    assert len(operation.done_months) == 4
    assert running.checksums() == before
    check(running)
