"""The roll-ups say what the events say, also after days are counted anew. The engine is in this process."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import pytest

from analytics_svc.metric import unique
from analytics_svc.store import rollups
from tests.integration.analytics.settling_cases import empty, stage, traffic
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store
ORGANIZATIONS = ("org_a", "org_b")
DAYS = (date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Client]":
    with reading(tmp_path_factory.mktemp("rollups")) as (_, client):
        yield client


@pytest.fixture
def client(engine: "Client") -> "Client":
    """Two pages of events on both sides of a month's end, counted page by page."""
    empty(engine)
    for seed in (3, 5):
        stage(engine, traffic(seed))
        engine.command("INSERT INTO events SELECT * REPLACE (concat('s', user_id) AS session_id) FROM staged")
    rollups.add(engine, "events", "event_type = 'click'")
    rollups.add(engine, "events", "event_type != 'click'")
    return engine


def test_pages_add_up_to_what_the_events_say(client: "Client") -> None:
    assert rollups.differences(client) == []


def test_a_plain_count_of_each_dimension_is_what_its_rollup_says(client: "Client") -> None:
    """Counted the slow way: one query for each dimension, without grouping sets."""
    for name in ("", *rollups.DAY_DIMENSIONS):
        value = f"ifNull(toString({name}), '')" if name else "''"
        plainly = client.query(
            f"SELECT organization_id, toDate(event_time, 'UTC') AS day, {value} AS of, count(),"
            " countIf(event_type = 'click') FROM events GROUP BY organization_id, day, of ORDER BY ALL"
        ).result_rows
        kept = client.query(
            "SELECT organization_id, day, value, sum(events), sum(clicks) FROM rollup_day"
            " WHERE dimension = {name:String} GROUP BY organization_id, day, value ORDER BY ALL",
            parameters={"name": name},
        ).result_rows
        assert kept == plainly, name


def test_different_visitors_are_the_same_number_from_a_rollup_and_from_the_events(client: "Client") -> None:
    client.command(
        "INSERT INTO events (organization_id, event_id, event_time, user_id, country, session_id)"
        " SELECT 'org_c', generateUUIDv4(), toDateTime64('2026-03-05 00:00:00', 3) + number * 8,"
        " toString(number % 7000), ['DE', 'FR'][1 + number % 2], toString(number) FROM numbers(10000)"
    )
    rollups.add(client, "events", "organization_id = 'org_c' AND toHour(event_time) < 9")
    rollups.add(client, "events", "organization_id = 'org_c' AND toHour(event_time) >= 9")
    for dimension in ("''", "country"):
        events = client.query(
            f"SELECT {dimension} AS of, {unique()}(user_id), {unique()}(session_id) FROM events"
            " WHERE organization_id = 'org_c' GROUP BY of ORDER BY of"
        ).result_rows
        name = dimension.strip("'")
        for grain in ("day", "hour") if name == "" else ("day",):
            kept = client.query(
                f"SELECT value, {unique('Merge')}(users), {unique('Merge')}(sessions) FROM rollup_unique"
                " WHERE organization_id = 'org_c' AND dimension = {name:String} AND grain = {grain:String}"
                " GROUP BY value ORDER BY value",
                parameters={"name": name, "grain": grain},
            ).result_rows
            assert kept == events, (dimension, grain)


def test_days_counted_anew_follow_their_events_and_other_days_stay(client: "Client") -> None:
    client.command("DELETE FROM events WHERE organization_id = 'org_a' AND toDate(event_time, 'UTC') = '2026-03-01'")
    client.command("UPDATE events SET user_id = 'another', source = 'another' WHERE organization_id = 'org_b'")
    assert rollups.differences(client)
    rollups.recount(client, ORGANIZATIONS, DAYS)
    assert rollups.differences(client) == []
    before = client.query("SELECT * FROM rollup_day WHERE organization_id = 'org_a' ORDER BY ALL").result_rows
    rollups.recount(client, ["org_b"], [DAYS[1]])
    after = client.query("SELECT * FROM rollup_day WHERE organization_id = 'org_a' ORDER BY ALL").result_rows
    assert after == before


def test_a_month_without_events_has_no_counts_left(client: "Client") -> None:
    client.command("TRUNCATE TABLE events")
    rollups.recount(client, ORGANIZATIONS, DAYS)
    assert [client.query(f"SELECT count() FROM {name}").result_rows[0][0] for name in rollups.ROWS] == [0, 0, 0]


def test_readers_see_the_old_counts_or_the_new_ones_and_never_less(
    client: "Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    done = client.command
    question = "SELECT sum(events) FROM rollup_day WHERE dimension = ''"

    def watched(statement: str, **named: object) -> object:
        result = done(statement, **named)  # type: ignore[arg-type]  # whatever the roll-ups give
        seen.add(client.query(question).result_rows[0][0])
        return result

    wanted = client.query(question).result_rows[0][0]
    monkeypatch.setattr(client, "command", watched)
    rollups.recount(client, ORGANIZATIONS, DAYS)
    assert seen == {wanted}


@pytest.mark.parametrize("name", list(rollups.ROWS))
def test_one_row_too_many_in_a_rollup_is_a_difference(client: "Client", name: str) -> None:
    client.command(f"INSERT INTO {name} SELECT * REPLACE ('org_d' AS organization_id) FROM {name} LIMIT 1")
    assert {(row[0], row[1]) for row in rollups.differences(client)} == {(name, "rollup")}
