"""What ClickHouse alone does for us: rules, derived columns, indexes, errors, migrations."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from capture_svc.assembly import Stores
from capture_svc.store import ContentRefusedError, EventFilter, EventRange
from capture_svc.store.clickhouse import MIGRATIONS, ClickHouseEventStore
from capture_svc.store.conditions import of_filter, of_organization, of_ranges
from capture_svc.store.connect import connect
from svc_runtime.clickhouse import ClickHouse, Dsn, select
from svc_runtime.clickhouse_migrations import migrate
from svc_runtime.errors import DeadlineExceededError, UnavailableError
from tests.contract.capture.store_contract import J1, NOW, NOW_MS, decoded, encoded, numbered, whole_event
from tests.contract.capture.things import ORGANIZATIONS, join, make_event
from tests.integration.capture.conftest import HttpServer, opened

pytestmark = [pytest.mark.store, pytest.mark.loopback]
ACME = ORGANIZATIONS[0]
FIVE_MINUTES_MS = 300_000


@pytest.fixture(params=["embedded", "http"])
def any_dsn(request: pytest.FixtureRequest) -> Dsn:
    """Return the DSN of an empty database, of either kind."""
    found: Dsn = request.getfixturevalue("dsn" if request.param == "embedded" else "http_dsn")
    return found


@pytest.fixture
async def any_stores(any_dsn: Dsn) -> AsyncIterator[Stores]:
    """Open stores on it."""
    async with opened(any_dsn) as found:
        yield found


@pytest.fixture
async def clickhouse(dsn: Dsn, stores: Stores) -> AsyncIterator[ClickHouse]:
    """Connect to the database of ``stores``."""
    found = connect(dsn, thread_count=1)
    yield found
    await found.close()


def not_utf8(field: bytes) -> bytes:
    """Return an encoded event whose method is not UTF-8, which no protobuf library writes."""
    good = make_event(journal_id=J1, sequence=1, event_time_ms=NOW_MS, method="GETX").SerializeToString()
    assert good.count(b"2\x04GETX") == 1
    return good.replace(b"2\x04GETX", b"2\x04" + field)


@pytest.mark.parametrize("field", [b"GET\xff", b"\xc3(ab", b"\xed\xa0\x80x"], ids=repr)
async def test_text_that_is_not_utf8_is_refused(any_stores: Stores, field: bytes) -> None:
    with pytest.raises(ContentRefusedError):
        await any_stores.events.insert(join([not_utf8(field)]), token="t")
    assert await any_stores.events.stored_sequences(EventRange(J1, 0, 9)) == set()


@pytest.mark.parametrize(
    "time_ms", [0, 1, 86_400_000, 1_577_836_799_999, 4_102_444_800_000, 10**15, 2**63 - 1, -1, -(2**63)]
)
async def test_a_time_that_no_clock_tells_is_refused(stores: Stores, time_ms: int) -> None:
    event = make_event(journal_id=J1, sequence=1, event_id="ded2093e-1a73-5f1c-888b-695db4081143")
    event.event_time_ms = time_ms
    with pytest.raises(ContentRefusedError):
        await stores.events.insert(encoded([event]), token="t")


async def test_an_event_without_an_id_is_refused(any_stores: Stores) -> None:
    for event_id in ("", "00000000-0000-0000-0000-000000000000"):
        event = make_event(journal_id=J1, sequence=1, event_time_ms=NOW_MS, event_id=event_id)
        with pytest.raises(ContentRefusedError):
            await any_stores.events.insert(encoded([event]), token=f"t{event_id}")


async def test_a_refusal_says_nothing_of_the_rows(any_stores: Stores) -> None:
    event = make_event(journal_id=J1, sequence=1, event_id="wdn_sk_live_very-secret")
    with pytest.raises(ContentRefusedError) as refused:
        await any_stores.events.insert(encoded([event]), token="t")
    assert refused.value.reason == "CANNOT_PARSE_UUID"
    assert "secret" not in f"{refused.value!r} {refused.value.__cause__!r}"
    assert refused.value.__suppress_context__


async def test_the_columns_of_the_specification_are_derived(stores: Stores, clickhouse: ClickHouse) -> None:
    event = make_event(
        journal_id=J1,
        sequence=1,
        event_time_ms=NOW_MS,
        scheme="https",
        host=b"t.example:8443",
        target=b"/in/x?source=fb&utm_source=late&utm_medium=c%20p+c&utm_campaign=a&a=1&a=2&empty=&bare&session_id=s1",
        headers=(
            b"Host: t.example\r\nUSER-agent:  Mozilla/5.0 (x: y) \r\n"
            b"referer: https://r.example/?a:b\r\nX: 1\r\nX: 2\r\n"
        ),
    )
    await stores.events.insert(encoded([event]), token="t")
    columns = (
        "toString(timestamp), url, user_agent, referer, source, medium, campaign, session_id,"
        " arrayMap(p -> (p.1, p.2), query_params), arrayMap(p -> (p.1, p.2), header_pairs), ingested_at = ingest_time"
    )
    (row,) = await select(clickhouse, f"SELECT {columns} FROM events")
    time, url, user_agent, referer, source, medium, campaign, session_id, parameters, headers, is_same = row
    assert time == "2026-11-20 12:00:00.123"
    assert url == "https://t.example:8443" + event.target.decode()
    assert (user_agent, referer) == ("Mozilla/5.0 (x: y)", "https://r.example/?a:b")
    assert (source, medium, campaign, session_id) == ("fb", "c p c", "a", "s1")
    assert [tuple(pair) for pair in parameters][4:] == [
        ("a", "1"),
        ("a", "2"),
        ("empty", ""),
        ("bare", ""),
        ("session_id", "s1"),
    ]
    assert [tuple(pair) for pair in headers][3:] == [("X", "1"), ("X", "2")]
    assert is_same


async def test_derived_columns_of_hostile_bytes_do_not_fail(stores: Stores, clickhouse: ClickHouse) -> None:
    await stores.events.insert(encoded([whole_event()]), token="t")
    columns = "length(url), length(header_pairs), length(query_params), length(user_agent), length(source)"
    assert len(await select(clickhouse, f"SELECT {columns} FROM events")) == 1


async def test_a_token_is_remembered_over_a_restart(
    open_stores: Callable[[], contextlib.AbstractAsyncContextManager[Stores]],
) -> None:
    events = encoded(numbered(5))
    for _ in range(3):
        async with open_stores() as stores:
            await stores.events.insert(events, token="t")
            assert len(decoded(await stores.events.read([EventRange(J1, 0, 99)], limit=99))) == 5


async def test_migrations_run_once_and_by_several_at_once(any_dsn: Dsn) -> None:
    async with contextlib.AsyncExitStack() as stack:
        connections = [connect(any_dsn, thread_count=1) for _ in range(3)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        await asyncio.gather(*(migrate(connection, MIGRATIONS) for connection in connections))
        assert await migrate(connections[0], MIGRATIONS) == []
        tables = {row[0] for row in await select(connections[0], "SHOW TABLES")}
        assert {"events", "batches", "claims", "quarantine", "replays", "journals"} <= tables


async def test_nothing_is_left_where_the_process_was_started(
    dsn: Dsn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(dsn) as stores:
        await stores.events.insert(encoded(numbered(1)), token="t")
        assert await stores.events.read([EventRange(J1, 0, 9)], limit=9)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - in an async function


# -- many rows ---------------------------------------------------------------------------------------------------------

ROWS = 400_000
_FILL = f"""
INSERT INTO events (organization_id, event_id, event_time, click_id, external_click_id, user_id, campaign_id, marks,
                    journal_id, sequence, target)
SELECT concat('org_', toString(number % 4)), reinterpretAsUUID(reverse(sipHash128(number))),
       fromUnixTimestamp64Milli({NOW_MS} + toInt64(number) * 10, 'UTC'),
       concat('ours', toString(number)), concat('theirs', toString(number)), concat('usr_', toString(number % 50000)),
       concat('cmp_', toString(intDiv(number, 40000))), if(number % 100000 = 4, ['rare'], []),
       '{J1}', number + 1, repeat('x', 100)
FROM numbers({ROWS})
"""


async def _fill(dsn: Dsn) -> None:
    clickhouse = connect(dsn, thread_count=1)
    await migrate(clickhouse, MIGRATIONS)
    for statement in (_FILL, "OPTIMIZE TABLE events FINAL"):
        await clickhouse.run(lambda client, statement=statement: client.command(statement))
    await clickhouse.close()


@pytest.fixture(scope="module")
def filled(engine: Path) -> Dsn:
    """Return the DSN of a database with many rows in one merged part."""
    dsn = Dsn(is_embedded=True, database="filled", path=str(engine))
    asyncio.run(_fill(dsn))
    return dsn


@pytest.fixture
async def full(filled: Dsn) -> AsyncIterator[ClickHouse]:
    """Connect to it."""
    found = connect(filled, thread_count=1)
    yield found
    await found.close()


async def granules(clickhouse: ClickHouse, where: object, values: dict[str, object]) -> int:
    """Return how many granules a query reads."""
    explained = await select(clickhouse, f"EXPLAIN indexes = 1 SELECT body FROM events WHERE {where}", values)
    found = re.findall(r"Granules: (\d+)/(\d+)", "\n".join(row[0] for row in explained))
    assert found
    return int(found[-1][0])


@pytest.mark.parametrize(
    ("wanted", "most"),
    [
        (EventFilter(click_id=b"ours100001"), 2),
        (EventFilter(click_id=b"theirs100001"), 2),
        (EventFilter(click_id=b"nobody's"), 2),
        (EventFilter(user_id="usr_49001"), 8),  # it has so many events, far from each other
        (EventFilter(campaign_id="cmp_3"), 3),
        (EventFilter(mark="rare"), 5),
    ],
    ids=str,
)
async def test_look_ups_do_not_scan(full: ClickHouse, wanted: EventFilter, most: int) -> None:
    where = of_filter("org_1", wanted)
    everything = await granules(full, of_organization("org_1"), {"organization": "org_1"})
    assert everything >= 12
    assert await granules(full, where, where.values) <= most


async def test_an_id_and_a_range_of_a_journal_are_found_without_a_scan(full: ClickHouse) -> None:
    (row,) = await select(full, "SELECT toString(event_id) FROM events WHERE sequence = 200002")
    where = of_organization("org_1").add("events.event_id = {id:UUID}", id=row[0])
    assert await granules(full, where, where.values) <= 2
    hint = (NOW, NOW)
    where = of_ranges([EventRange(J1, 100, 200, hint)])
    # Half a minute around the hint is one granule of each organisation, or two.
    assert await granules(full, where, where.values) <= 8


async def test_a_query_over_its_time_says_so(engine: Path, full: ClickHouse) -> None:
    hasty = connect(full.dsn, thread_count=1, settings={"max_execution_time": "0.05"})
    try:
        with pytest.raises(DeadlineExceededError):
            await select(hasty, "SELECT sleepEachRow(0.01) FROM numbers(100) SETTINGS max_block_size = 1")
    finally:
        await hasty.close()


# -- a server that is away ---------------------------------------------------------------------------------------------


async def test_a_server_that_does_not_listen_is_unavailable(http_server: HttpServer) -> None:
    clickhouse = connect(Dsn(is_embedded=False, database="x", client=(("host", "127.0.0.1"), ("port", 9))))
    with pytest.raises(UnavailableError):
        await select(clickhouse, "SELECT 1")
    await clickhouse.close()


async def test_a_wrong_password_is_unavailable_and_not_told(http_server: HttpServer) -> None:
    clickhouse = connect(http_server.dsn("default", password="hunter2"))
    with pytest.raises(UnavailableError) as refused:
        await select(clickhouse, "SELECT 1")
    assert "516" in refused.value.message
    assert "hunter2" not in f"{refused.value!r} {clickhouse.dsn!r}"
    await clickhouse.close()


@pytest.mark.parametrize("kind", ["refuse", "code-243", "code-252", "code-999", "code-1001", "drop"])
async def test_a_server_in_trouble_is_unavailable_and_a_retry_stores_once(
    http_server: HttpServer, http_dsn: Dsn, kind: str
) -> None:
    async with opened(http_dsn) as stores:
        events = encoded(numbered(4))
        http_server.fail(kind)
        try:
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    await stores.events.insert(events, token="t")
        finally:
            http_server.fail("none")
        await stores.events.insert(events, token="t")
        assert len(decoded(await stores.events.read([EventRange(J1, 0, 99)], limit=99))) == 4


async def test_a_server_that_comes_back_is_used_again(http_server: HttpServer, http_dsn: Dsn) -> None:
    async with opened(http_dsn) as stores:
        await stores.events.insert(encoded(numbered(2)), token="t")
        http_server.kill()
        try:
            with pytest.raises(UnavailableError):
                await stores.events.insert(encoded(numbered(2, first=3)), token="u")
        finally:
            http_server.start()
        await stores.events.insert(encoded(numbered(2, first=3)), token="u")
        assert isinstance(stores.events, ClickHouseEventStore)
        assert await stores.events.stored_sequences(EventRange(J1, 0, 9)) == {1, 2, 3, 4}
