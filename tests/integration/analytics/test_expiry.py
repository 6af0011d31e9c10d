"""Events leave with what counts them, each organisation's after its own time. The engine is in this process."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from analytics_svc.retention import Retention
from analytics_svc.store import rollups
from analytics_svc.store.expiry import expire, tier
from tests.integration.analytics.settling_cases import empty
from tests.reading import insert_events, reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Client]":
    with reading(tmp_path_factory.mktemp("expiry")) as (_, client):
        yield client


@pytest.fixture
def client(engine: "Client") -> "Client":
    empty(engine)
    ages = (0, 29, 30, 31, 89, 90, 91, 400, 800)
    insert_events(
        engine,
        [
            {"organization_id": organization_id, "event_time": NOW - timedelta(days=age), "user_id": f"u{age}"}
            for organization_id in ("org_short", "org_long", "org_other")
            for age in ages
        ],
    )
    engine.command("INSERT INTO click_keys SELECT 1, event_time FROM events")
    return engine


def left(client: "Client") -> dict[str, list[int]]:
    rows = client.query("SELECT organization_id, event_time FROM events ORDER BY event_time DESC").result_rows
    found: dict[str, list[int]] = {}
    for organization_id, time in rows:
        found.setdefault(organization_id, []).append((NOW.replace(tzinfo=None) - time.replace(tzinfo=None)).days)
    return found


def test_each_organisation_keeps_its_own_days_and_the_counts_agree(client: "Client") -> None:
    retention = Retention({"": 90, "org_short": 30, "org_long": 500})
    assert expire(client, retention.cuts(NOW)) == 6 + 1 + 3
    assert left(client) == {
        "org_short": [0, 29, 30],
        "org_long": [0, 29, 30, 31, 89, 90, 91, 400],
        "org_other": [0, 29, 30, 31, 89, 90],
    }
    assert rollups.differences(client) == []
    assert expire(client, retention.cuts(NOW)) == 0


def test_months_and_years_beyond_every_retention_leave_as_files(client: "Client") -> None:
    expire(client, Retention({"": 90}).cuts(NOW))
    parts = "SELECT min(partition) FROM system.parts WHERE active AND rows > 0 AND database = currentDatabase()"
    for table, first in (("events", "202608"), ("rollup_day", "202608"), ("click_keys", "2026")):
        assert client.query(f"{parts} AND table = '{table}'").result_rows == [(first,)], table


def test_what_a_crash_has_left_in_the_rollups_leaves_with_the_next_call(client: "Client") -> None:
    cuts = Retention({"": 90, "org_short": 30}).cuts(NOW)
    client.command("DELETE FROM events WHERE organization_id = 'org_short' AND event_time < '2026-10-21 00:00:00'")
    assert rollups.differences(client)
    expire(client, cuts)
    assert rollups.differences(client) == []


def test_old_events_may_lie_on_another_volume(client: "Client") -> None:
    def rule() -> str:
        return str(client.query("SELECT engine_full FROM system.tables WHERE name = 'events'").result_rows[0][0])

    tier(client, "default", 90)
    assert "toIntervalDay(90) TO VOLUME 'default'" in rule()
    tier(client, "", 90)
    assert "VOLUME" not in rule()
    tier(client, "", 90)
