"""The reading in a real ClickHouse engine."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from analytics_svc.convert.feed import page_from_pb
from analytics_svc.projection.enricher import Enricher
from analytics_svc.store import Bookmark, Page, ReadingStore, clickhouse
from analytics_svc.store import connect as connect_module
from analytics_svc.store.clickhouse import MIGRATIONS, ClickHouseReadingStore
from analytics_svc.store.connect import open_client
from analytics_svc.store.intents import open_intent, open_intents
from enrichment.user_agent import UserAgent
from svc_runtime.clickhouse import Dsn, select
from svc_runtime.clickhouse_migrations import migrate
from svc_runtime.errors import UnavailableError
from svc_runtime.migrations import read_migrations
from tests.contract.analytics.fake_capture import FakeCapture, make_event
from tests.contract.analytics.store_contract import NOON, ReadingStoreContract, page
from tests.integration.analytics.rollup_check import assert_rollups_agree
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


def read_rows(dsn: Dsn) -> list[tuple[Any, ...]]:
    """Return every column of what is stored, texts in hexadecimal, in the order of ids."""
    client = open_client(replace(dsn, database="default"))  # its own may not be there yet
    try:
        columns = client.query(
            "SELECT name FROM system.columns WHERE database = {database:String} AND table = 'events'"
            " AND default_kind != 'ALIAS' ORDER BY position",
            parameters={"database": dsn.database},
        ).result_rows
        if not columns:
            return []
        plain = [f"hex(toString({name}))" for (name,) in columns]
        rows = client.query(f"SELECT {', '.join(plain)} FROM {dsn.database}.events ORDER BY event_id").result_rows
    finally:
        client.close()
    return [tuple(row) for row in rows]


async def rows_of_one_page(dsn: Dsn, fake: FakeCapture) -> list[tuple[Any, ...]]:
    """Return what the reading is to hold of the fake's events: all of them at once in an empty one."""
    events = list(fake.events().values())
    batch = event_pb2.EventBatch(events=events).SerializeToString()
    async with ClickHouseReadingStore.open(dsn) as store:
        assert await store.write(Page((batch,), len(events), Bookmark(b"all", NOON))) == len(events)
    return read_rows(dsn)


def check_the_rest(dsn: Dsn) -> None:
    """Check what counts the events."""
    client = open_client(dsn)
    try:
        assert_rollups_agree(client)
        assert open_intents(client) == []
    finally:
        client.close()


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


async def test_pages_of_any_size_make_the_same_reading(make_dsn: MakeDsn) -> None:
    fake, dsn = FakeCapture(largest_page=30), make_dsn()
    fake.heartbeat_seconds = 0
    fake.put(150)
    await follow_to_the_end(dsn, fake)
    rows = read_rows(dsn)
    assert len(rows) == 150
    assert rows == await rows_of_one_page(make_dsn(), fake)
    check_the_rest(dsn)


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


async def test_an_error_of_the_engine_tells_its_code_and_no_row(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse, "_KNOWN", "SELECT toUUID('203.0.113.9')")
    async with ClickHouseReadingStore.open(make_dsn()) as store:
        with pytest.raises(UnavailableError, match=r"code \d+") as caught:
            await store.write(page(range(1), b"1"))
    assert "203.0.113.9" not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_an_event_that_the_engine_cannot_take_stops_nobody(make_dsn: MakeDsn) -> None:
    dsn = make_dsn()
    events = [make_event(number) for number in range(10)]
    events[3].event_id = "no id"
    events[4].event_time_ms = 2**62
    batch = event_pb2.EventBatch(events=events).SerializeToString()
    async with ClickHouseReadingStore.open(dsn) as store:
        for _ in range(2):
            assert await store.write(Page((batch,), 10, Bookmark(b"1", NOON))) in (10, 0)
    client = open_client(dsn)
    marked = client.query("SELECT count(), countIf(has(marks, 'unreadable')) FROM events").result_rows
    client.close()
    assert [tuple(row) for row in marked] == [(10, 2)]
    check_the_rest(dsn)


async def test_a_rule_that_breaks_on_one_event_stops_nobody(make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = make_dsn()
    real = Enricher.user_agent

    def breaks(self: Enricher, header: bytes) -> UserAgent:
        if header == b"poison":
            raise ZeroDivisionError
        return real(self, header)

    monkeypatch.setattr(Enricher, "user_agent", breaks)
    events = [make_event(number) for number in range(10)]
    events[3].headers = b"User-Agent: poison\r\n"
    batch = event_pb2.EventBatch(events=events).SerializeToString()
    async with ClickHouseReadingStore.open(dsn) as store:
        assert await store.write(Page((batch,), 10, Bookmark(b"1", NOON))) == 10
    client = open_client(dsn)
    marked = client.query("SELECT toString(event_id) FROM events WHERE has(marks, 'unreadable')").result_rows
    client.close()
    assert [row[0] for row in marked] == [events[3].event_id]


async def test_a_page_waits_while_somebody_else_writes(make_dsn: MakeDsn) -> None:
    async with ClickHouseReadingStore.open(make_dsn()) as store:
        async with store.writing():
            waiting = asyncio.create_task(store.write(page(range(5), b"1")))
            await asyncio.sleep(0.3)
            assert not waiting.done()
        assert await waiting == 5


async def test_what_somebody_else_left_half_done_is_put_in_order_before_the_next_page(make_dsn: MakeDsn) -> None:
    def half_done(client: Client) -> None:
        ids, days = client.query(
            "SELECT groupUniqArray(toString(organization_id)), groupUniqArray(toDate(event_time, 'UTC')) FROM events"
        ).result_rows[0]
        open_intent(client, ids, days)
        client.command("TRUNCATE TABLE rollup_minute")
        raise UnavailableError("the disk is full")

    dsn = make_dsn()
    clickhouse = connect_module.connect(dsn)
    async with ClickHouseReadingStore.open(dsn) as store:
        await store.write(page(range(5), b"1"))
        with pytest.raises(UnavailableError):
            async with store.writing():
                await clickhouse.run(half_done)
        await store.write(page(range(6), b"2"))
        await clickhouse.run(assert_rollups_agree)
    await clickhouse.close()


async def test_a_writer_that_is_cancelled_leaves_when_its_page_is_written(make_dsn: MakeDsn) -> None:
    async with ClickHouseReadingStore.open(make_dsn()) as store:
        writing = asyncio.create_task(store.write(page(range(5), b"1")))
        await asyncio.sleep(0.01)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert (await store.bookmark()).cursor == b"1"
        assert await store.write(page(range(6), b"2")) == 1


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
    assert [name for _, name, _ in expected][:2] == ["0001_events.sql", "0002_cursors.sql"]


class KilledError(BaseException):
    """The process is gone."""


_DURABLE = re.compile(r"\s*(INSERT INTO|UPDATE|DELETE FROM) (events|rollup_\w+|click_keys|reference_keys)\b")


class FrailClient:
    """A client of a process that is killed before, or in the middle of, its n-th change of what is on disk.

    What happens in memory until then is nothing that anybody finds.
    """

    def __init__(self, client: Client, countdown: list[int], *, tears: bool) -> None:
        self._client = client
        self._countdown = countdown
        self._tears = tears

    def __getattr__(self, name: str) -> Any:
        """Count the statements, leave the rest alone."""
        attribute = getattr(self._client, name)
        if name not in ("command", "insert"):
            return attribute

        def statement(*arguments: Any, **options: Any) -> Any:
            if name == "insert" or _DURABLE.match(arguments[0]):
                self._countdown[0] -= 1
                if self._countdown[0] == 0:
                    self._tear(*arguments, **options)
                    raise KilledError
            return attribute(*arguments, **options)

        return statement

    def _tear(self, sql: str, *_arguments: Any, **options: Any) -> None:
        """Of an insert that crosses a month, let one month's part come to be."""
        if self._tears and sql.strip().startswith("INSERT INTO events"):
            self._client.command(f"{sql} WHERE toYYYYMM(event_time) = 202601", **options)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tears", [False, True], ids=["between steps", "within the insert"])
async def test_whoever_is_killed_at_any_step_goes_on_without_loss_or_repeat(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch, tears: bool
) -> None:
    countdown = [0]
    fake, dsn = FakeCapture(seed=1, largest_page=25), make_dsn()
    fake.heartbeat_seconds = 0
    fake.put(60)
    fake.put(60, journal_id="b" * 32)
    async with ClickHouseReadingStore.open(dsn):
        pass  # migrated: what is counted from here on are the changes of pages
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
        stored = read_rows(dsn)
        assert len({row[1] for row in stored}) == len(stored)
    # Every change that a page makes, and that putting things in order makes, was the last of somebody.
    assert lived_through >= 10
    monkeypatch.undo()
    assert read_rows(dsn) == await rows_of_one_page(make_dsn(), fake)
    check_the_rest(dsn)


@pytest.mark.timeout(300)
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


@pytest.mark.timeout(300)
async def test_the_test_above_notices_a_store_that_does_not_look_what_is_there(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse, "_KNOWN", "SELECT event_id FROM events WHERE 0")
    with pytest.raises((AssertionError, UnavailableError)):  # the store may notice first
        await test_whoever_is_killed_at_any_step_goes_on_without_loss_or_repeat(make_dsn, monkeypatch, tears=False)


@pytest.mark.timeout(300)
async def test_the_test_above_notices_a_store_that_counts_nothing_anew(
    make_dsn: MakeDsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse, "open_intents", lambda _client: [])
    with pytest.raises(AssertionError):
        await test_whoever_is_killed_at_any_step_goes_on_without_loss_or_repeat(make_dsn, monkeypatch, tears=False)


async def test_watermarks_are_kept_to_the_millisecond(make_dsn: MakeDsn) -> None:
    async with ClickHouseReadingStore.open(make_dsn()) as store:
        await store.write(page(range(1), b"1"))
        assert (await store.bookmark()).watermark_time == NOON
