"""The reading in a real ClickHouse engine."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from analytics_svc.convert.feed import page_from_pb
from analytics_svc.store import Page, ReadingStore, clickhouse
from analytics_svc.store import connect as connect_module
from analytics_svc.store.clickhouse import MIGRATIONS, ClickHouseReadingStore
from analytics_svc.store.connect import open_client
from svc_runtime.clickhouse import Dsn, select
from svc_runtime.clickhouse_migrations import migrate
from svc_runtime.errors import UnavailableError
from svc_runtime.migrations import read_migrations
from tests.contract.analytics.fake_capture import FakeCapture
from tests.contract.analytics.store_contract import NOON, ReadingStoreContract, page
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.store
MakeDsn = Callable[[], Dsn]


class TestClickHouseReadingStore(ReadingStoreContract):
    """In ClickHouse."""

    @pytest.fixture
    async def store(self, make_dsn: MakeDsn) -> AsyncIterator[ReadingStore]:
        """An empty one."""
        async with ClickHouseReadingStore.open(make_dsn()) as store:
            yield store


def read_events(dsn: Dsn) -> list[event_pb2.Event]:
    """Return what is stored, one row each, in the order of ids."""
    client = open_client(replace(dsn, database="default"))  # its own may not be there yet
    try:
        if not client.query(f"EXISTS TABLE {dsn.database}.events").result_rows[0][0]:
            return []
        rows = client.query(
            "SELECT organization_id, toString(event_id), toUnixTimestamp64Milli(event_time), hex(event_type),"
            " click_id, hex(external_click_id), user_id, campaign_id, scheme, hex(host), hex(target), ip, marks,"
            f" journal_id, sequence FROM {dsn.database}.events ORDER BY event_id"
        ).result_rows
    finally:
        client.close()
    return [
        event_pb2.Event(
            organization_id=row[0],
            event_id=row[1],
            event_time_ms=row[2],
            event_type=bytes.fromhex(row[3]),
            click_id=row[4],
            external_click_id=bytes.fromhex(row[5]),
            user_id=row[6],
            campaign_id=row[7],
            scheme=row[8],
            host=bytes.fromhex(row[9]),
            target=bytes.fromhex(row[10]),
            ip=row[11],
            marks=row[12],
            journal_id=row[13],
            sequence=row[14],
        )
        for row in rows
    ]


def what_is_read(fake: FakeCapture) -> list[event_pb2.Event]:
    """Return what the reading is to hold of the fake's events."""
    left_out = (
        "route method http_version headers body peer_address campaign_version location status trace_id"
        " idempotency_key item_index key_id"
    )
    events = [event for _, event in sorted(fake.events().items())]
    for event in events:
        for name in left_out.split():
            event.ClearField(name)  # type: ignore[arg-type]  # names of fields, as literals elsewhere
    return events


async def pages_of(fake: FakeCapture, cursor: bytes) -> AsyncIterator[Page]:
    """Read the fake's feed to its end, without a wire."""
    request = pb.SubscribeRequest(cursor=cursor, max_event_count=1000)
    async for message in fake.Subscribe(request, None):
        if not message.event_count:
            return
        yield page_from_pb(message)


async def follow_to_the_end(dsn: Dsn, fake: FakeCapture) -> None:
    """Write everything that the fake has after the bookmark."""
    async with ClickHouseReadingStore.open(dsn) as store:
        async for item in pages_of(fake, (await store.bookmark()).cursor):
            await store.write(item)
        assert (await store.bookmark()).cursor == fake.end()


async def test_every_column_holds_what_was_sent(make_dsn: MakeDsn) -> None:
    fake, dsn = FakeCapture(), make_dsn()
    fake.heartbeat_seconds = 0
    fake.put(100)
    await follow_to_the_end(dsn, fake)
    assert read_events(dsn) == what_is_read(fake)
    client = open_client(dsn)
    url = bytes.fromhex(client.command("SELECT hex(any(url)) FROM events WHERE sequence = 8"))
    assert url == b"https://t.example/in/sale?n=7&x=\xff\x00\xfe"
    client.close()


async def test_the_bookmark_and_the_events_outlive_the_process(make_dsn: MakeDsn) -> None:
    dsn = make_dsn()
    async with ClickHouseReadingStore.open(dsn) as store:
        await store.write(page(range(10), b"1"))
    async with ClickHouseReadingStore.open(dsn) as store:
        assert (await store.bookmark()).cursor == b"1"
        await store.write(page(range(10, 12), b"2"))
        assert (await store.bookmark()).cursor == b"2"


async def test_a_page_that_reads_as_another_number_of_events_is_not_passed(make_dsn: MakeDsn) -> None:
    dsn = make_dsn()
    whole = page(range(10), b"1")
    async with ClickHouseReadingStore.open(dsn) as store:
        for events, count in ((whole.events, 11), (whole.events, 9), ((whole.events[0][:-3],), 10)):
            with pytest.raises(UnavailableError):
                await store.write(Page(events, count, whole.bookmark))
            assert (await store.bookmark()).cursor == b""
        assert await store.write(whole) == 10


async def test_an_error_of_the_engine_tells_its_code_and_no_row(make_dsn: MakeDsn) -> None:
    bad = event_pb2.EventBatch(events=[event_pb2.Event(event_id="no-uuid-203.0.113.9")]).SerializeToString()
    async with ClickHouseReadingStore.open(make_dsn()) as store:
        with pytest.raises(UnavailableError, match=r"code \d+") as caught:
            await store.write(Page((bad,), 1, page(range(1), b"1").bookmark))
    assert "203.0.113.9" not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_migrations_are_known_by_number_and_checksum_and_run_once(make_dsn: MakeDsn) -> None:
    dsn = make_dsn()
    for _ in range(2):
        async with ClickHouseReadingStore.open(dsn):
            pass
    clickhouse = connect_module.connect(dsn)
    rows = await select(clickhouse, "SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    assert await migrate(clickhouse, MIGRATIONS) == []
    await clickhouse.close()
    expected = [(migration.version, migration.name, migration.checksum) for migration in read_migrations(MIGRATIONS)]
    assert [tuple(row) for row in rows] == expected
    assert [name for _, name, _ in expected][:3] == ["0001_events.sql", "0002_arrivals.sql", "0003_cursors.sql"]


class KilledError(BaseException):
    """The process is gone."""


class FrailClient:
    """A client of a process that is killed before, or in the middle of, its n-th statement."""

    def __init__(self, client: Client, countdown: list[int], *, tears: bool) -> None:
        self._client = client
        self._countdown = countdown
        self._tears = tears

    def __getattr__(self, name: str) -> Any:
        """Count the statements, leave the rest alone."""
        attribute = getattr(self._client, name)
        if name not in ("command", "query", "insert", "raw_insert"):
            return attribute

        def statement(*arguments: Any, **options: Any) -> Any:
            self._countdown[0] -= 1
            if self._countdown[0] == 0:
                self._tear(*arguments, **options)
                raise KilledError
            return attribute(*arguments, **options)

        return statement

    def _tear(self, sql: str, *_arguments: Any, **options: Any) -> None:
        """Of an insert that crosses a month, let one month's part come to be."""
        if self._tears and sql.strip().startswith("INSERT INTO events"):
            month = "toYYYYMM(fromUnixTimestamp64Milli(event_time_ms, 'UTC'))"
            torn = sql.replace("WHERE event_id", f"WHERE {month} = 202601 AND event_id", 1)
            assert torn != sql
            self._client.command(torn, **options)


@pytest.mark.parametrize("tears", [False, True], ids=["between steps", "within the insert"])
async def test_whoever_is_killed_at_any_step_goes_on_without_loss_or_repeat(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch, tears: bool
) -> None:
    countdown = [0]
    fake, dsn = FakeCapture(seed=1, largest_page=12), make_dsn()
    fake.heartbeat_seconds = 0
    fake.put(150)
    fake.put(150, journal_id="b" * 32)
    monkeypatch.setattr(
        connect_module, "open_client", lambda dsn: FrailClient(open_client(dsn), countdown, tears=tears)
    )
    lived_through = 0
    for step in range(1, 200):
        countdown[0] = step
        try:
            # Each time the feed cuts its pages differently, and other events have come.
            await follow_to_the_end(dsn, fake)
        except KilledError:
            lived_through += 1
            if step % 3 == 0:
                fake.put(random.Random(step).randint(1, 5), journal_id="b" * 32)
        else:
            break
        stored = read_events(dsn)
        assert len({event.event_id for event in stored}) == len(stored)
    # Every statement of the start, and of several pages, was somebody's last.
    assert lived_through >= 25
    assert read_events(dsn) == what_is_read(fake)


async def test_the_test_above_notices_a_store_that_keeps_its_bookmark_first(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ClickHouseReadingStore.write

    async def bookmark_first(self: ClickHouseReadingStore, item: Page) -> int:
        await real(self, Page((b"",), 0, item.bookmark))
        return await real(self, item)

    monkeypatch.setattr(ClickHouseReadingStore, "write", bookmark_first)
    with pytest.raises(AssertionError):
        await test_whoever_is_killed_at_any_step_goes_on_without_loss_or_repeat(make_dsn, monkeypatch, tears=False)


async def test_the_test_above_notices_a_store_that_does_not_look_what_is_there(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = clickhouse._TAKE_IN
    careless = careful[: careful.index("WHERE event_id NOT IN")] + "LIMIT 1 BY event_id"
    monkeypatch.setattr(clickhouse, "_TAKE_IN", careless)
    with pytest.raises(AssertionError):
        await test_whoever_is_killed_at_any_step_goes_on_without_loss_or_repeat(make_dsn, monkeypatch, tears=False)


async def test_watermarks_are_kept_to_the_millisecond(make_dsn: MakeDsn) -> None:
    async with ClickHouseReadingStore.open(make_dsn()) as store:
        await store.write(page(range(1), b"1"))
        assert (await store.bookmark()).watermark_time == NOON
