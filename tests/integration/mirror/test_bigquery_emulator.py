"""The real client against a BigQuery on DuckDB, where there is one: what was loaded can be queried."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from capture_svc import mirror as mirroring
from capture_svc.mirror import pack, rows
from capture_svc.mirror.bigquery import BigQueryWarehouse
from capture_svc.mirror.settings import BigQuerySettings
from tests.integration.mirror import emulator as local
from tests.integration.mirror.warehouse_contract import WarehouseContract
from tests.unit.mirror.fakes import START, MemoryFeed, MemoryStateStore

# The first run downloads the emulator.
pytestmark = [pytest.mark.store, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Emulator]:
    try:
        local.environment()
    except local.EmulatorMissingError as missing:
        pytest.skip(str(missing))
    with local.running(tmp_path_factory.mktemp("bigquery") / "data") as found:
        yield found


class EmulatorPlace:
    """A table of its own in the emulator."""

    def __init__(self, emulator: local.Emulator) -> None:
        self.settings = BigQuerySettings(
            project="p",
            dataset="d",
            table=f"events_{uuid.uuid4().hex}",
            api_endpoint=emulator.endpoint,
            compression="none",
            max_seconds=0,
            max_rows=60,
        )
        self.warehouse = BigQueryWarehouse(self.settings)
        self.client = bigquery.Client(
            project="p",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth is not typed
            client_options={"api_endpoint": emulator.endpoint},
        )
        self.table_id = f"p.d.{self.settings.table}"

    async def rows(self, columns: str) -> list[dict[str, Any]]:
        """Return the table's rows, by event id."""
        sql = f"SELECT {columns} FROM `{self.table_id}` ORDER BY event_id"
        return await asyncio.to_thread(lambda: [dict(row) for row in self.client.query(sql).result()])

    async def event_ids(self) -> list[str]:
        """Return the ids in the table, sorted."""
        return [row["event_id"] for row in await self.rows("event_id")]

    async def drop_table(self) -> None:
        """Take the table away."""
        await asyncio.to_thread(self.client.delete_table, self.table_id)


@pytest.fixture
async def place(emulator: local.Emulator) -> AsyncIterator[EmulatorPlace]:
    found = EmulatorPlace(emulator)
    yield found
    await found.warehouse.close()
    found.client.close()  # type: ignore[no-untyped-call]  # nor is this


class TestBigQueryOnTheEmulator(WarehouseContract):
    """The contract, over the emulator."""

    # The emulator would know gzip by a file's name, and an upload has none.
    is_plain = True


async def test_the_table_is_partitioned_by_day_and_clustered(place: EmulatorPlace) -> None:
    await place.warehouse.prepare()
    table = await asyncio.to_thread(place.client.get_table, place.table_id)
    assert table.time_partitioning.type_ == "DAY"
    assert table.time_partitioning.field == "timestamp"
    assert table.clustering_fields == ["organization_id", "event_type"]


async def test_a_request_can_be_queried_by_its_parts(place: EmulatorPlace) -> None:
    feed = MemoryFeed()
    feed.append("a", 1)
    await _mirror(place, feed, MemoryStateStore())
    (row,) = await place.rows(
        "*, JSON_VALUE(request_data.url) AS url, JSON_VALUE(request_data.headers[0][1]) AS first_header,"
        " JSON_VALUE(request_data.sequence) AS sequence"
    )
    assert row["organization_id"] == "org_acmecorp"
    assert row["timestamp"] == START.replace(microsecond=2_000)
    assert (row["event_type"], row["click_id"], row["source"]) == ("click", None, "facebook")
    assert row["url"] == "https://track.acmecorp.com/in/summer_sale?source=facebook"
    assert (row["first_header"], row["sequence"]) == ("test", "2")
    assert datetime.now(UTC).year >= row["ingested_at"].year


async def test_bad_rows_are_set_aside_and_the_rest_is_loaded(
    place: EmulatorPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, states = MemoryFeed(), MemoryStateStore()
    feed.append("a", 100)
    feed.append("b", 20)
    bad = {("a", 44), ("b", 2)}
    assert bad <= feed.keys
    _spoil(monkeypatch, bad)
    await _mirror(place, feed, states)
    assert set(states.aside) == bad
    assert await place.event_ids() == sorted(f"{journal}-{sequence}" for journal, sequence in feed.keys - bad)


async def test_an_outage_loses_nothing_and_doubles_nothing(place: EmulatorPlace, emulator: local.Emulator) -> None:
    feed, states = MemoryFeed(), MemoryStateStore()
    feed.append("a", 150)
    task = asyncio.create_task(mirroring.follow(lambda: feed, states, place.warehouse, place.settings))
    try:
        await _until(lambda: states.newest().version >= 2, task)
        await asyncio.to_thread(emulator.stop)
        feed.append("a", 100)
        feed.append("b", 30)
        await asyncio.sleep(1)
        await asyncio.to_thread(emulator.start)
        await _until(lambda: states.newest().settled_count == 280, task)
    finally:
        task.cancel()
    assert await place.event_ids() == sorted(f"{journal}-{sequence}" for journal, sequence in feed.keys)


async def test_a_job_with_a_column_too_few_in_the_table_is_nobody_s_rows_fault(place: EmulatorPlace) -> None:
    table = bigquery.Table(place.table_id, schema=[bigquery.SchemaField("organization_id", "STRING")])
    await asyncio.to_thread(place.client.create_table, table)
    await place.warehouse.prepare()
    assert not await place.warehouse.is_accepting()


def _spoil(monkeypatch: pytest.MonkeyPatch, bad: set[tuple[str, int]]) -> None:
    """Give some rows a time that is none."""

    def rows_of(events: bytes, *, ingested_at: datetime) -> Iterator[rows.Row]:
        for row in rows.rows_of(events, ingested_at=ingested_at):
            line = row.line.replace(b'"timestamp":"', b'"timestamp":"x') if row.key in bad else row.line
            yield rows.Row(row.key, line)

    monkeypatch.setattr(pack, "rows_of", rows_of)


async def _mirror(place: EmulatorPlace, feed: MemoryFeed, states: MemoryStateStore) -> None:
    task = asyncio.create_task(mirroring.follow(lambda: feed, states, place.warehouse, place.settings))
    try:
        await _until(lambda: states.newest().settled_count == len(feed.keys), task)
    finally:
        task.cancel()


async def _until(is_so: Callable[[], bool], task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            assert not task.done(), task.exception()
            await asyncio.sleep(0.02)
