"""The mirror's state on ClickHouse, and its rows against what ClickHouse derives from the same events."""

import asyncio
import uuid
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
import pytest

from capture_svc.mirror.rows import rows_of
from capture_svc.mirror.state import Batch, MirrorState, Part, RefusedRow
from capture_svc.mirror.state_store import MirrorStateStore, MirrorTakenError
from capture_svc.store.clickhouse import ClickHouseEventStore
from capture_svc.store.mirror_state import ClickHouseMirrorStateStore
from svc_runtime.clickhouse import ClickHouse, select
from tests.unit.mirror.fakes import MemoryStateStore, event
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.store

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BATCH = Batch(b"\x00", b"\xff", {"a": 2**64 - 1}, 7, NOW, parts=(Part(), Part(after=("a", 3))))


class Place(Protocol):
    """Several writers of one mirror's state."""

    def writer(self) -> MirrorStateStore:
        """Return a writer more."""
        ...

    async def set_aside(self) -> set[tuple[str, int, str]]:
        """Return what was set aside."""
        ...


class MirrorStateStoreContract:
    """The suite of every MirrorStateStore. A subclass provides the fixture ``place``."""

    async def test_a_new_mirror_begins_at_the_beginning(self, place: Place) -> None:
        assert await place.writer().read() == MirrorState.initial()

    async def test_what_was_written_is_read_by_everybody(self, place: Place) -> None:
        first = MirrorState.initial().with_batch(BATCH)
        await place.writer().write(first)
        assert await place.writer().read() == first
        second = first.with_batch_settled(BATCH)
        await place.writer().write(second)
        assert await place.writer().read() == second

    async def test_of_several_writers_of_a_version_one_succeeds(self, place: Place) -> None:
        winner, loser = place.writer(), place.writer()
        taken = MirrorState.initial().with_batch(BATCH)
        await winner.write(taken)
        with pytest.raises(MirrorTakenError):
            await loser.write(MirrorState.initial().with_batch_settled(BATCH))
        assert await loser.read() == taken

    async def test_a_writer_that_slept_for_long_changes_nothing(self, place: Place) -> None:
        states = [MirrorState.initial().with_batch(BATCH)]
        for _ in range(4):
            states.append(states[-1].with_batch_settled(BATCH))
        for state in states:
            await place.writer().write(state)
        for state in states:
            with pytest.raises(MirrorTakenError):
                await place.writer().write(state)
        assert await place.writer().read() == states[-1]

    async def test_setting_aside_again_adds_nothing(self, place: Place) -> None:
        rows = [RefusedRow(("a", 2**64 - 1), "invalid"), RefusedRow(("b", 2), "invalid")]
        await place.writer().set_aside(rows)
        await place.writer().set_aside(rows[:1])
        assert await place.set_aside() == {("a", 2**64 - 1, "invalid"), ("b", 2, "invalid")}


class MemoryPlace:
    """In memory."""

    def __init__(self) -> None:
        self._store = MemoryStateStore()

    def writer(self) -> MirrorStateStore:
        """Return a writer more."""
        return self._store

    async def set_aside(self) -> set[tuple[str, int, str]]:
        """Return what was set aside."""
        return {(*key, reason) for key, reason in self._store.aside.items()}


class ClickHousePlace:
    """A mirror of its own in ClickHouse."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._mirror = f"bigquery:{uuid.uuid4()}"

    def writer(self) -> MirrorStateStore:
        """Return a writer more."""
        return ClickHouseMirrorStateStore(self._clickhouse, self._mirror)

    async def set_aside(self) -> set[tuple[str, int, str]]:
        """Return what was set aside."""
        sql = "SELECT journal_id, sequence, reason FROM mirror_refusals FINAL WHERE mirror = {mirror:String}"
        rows = await select(self._clickhouse, sql, {"mirror": self._mirror})
        assert len(rows) == len({tuple(row) for row in rows})
        return {(str(row[0]), int(row[1]), str(row[2])) for row in rows}


class TestInMemory(MirrorStateStoreContract):
    """The suite, in memory."""

    @pytest.fixture
    def place(self) -> Place:
        return MemoryPlace()


class TestOnClickHouse(MirrorStateStoreContract):
    """The suite, on chDB."""

    @pytest.fixture
    def place(self, clickhouse: ClickHouse) -> Place:
        return ClickHousePlace(clickhouse)

    async def test_writers_at_the_same_moment_are_one_after_another(self, place: Place) -> None:
        state = await place.writer().read()
        for _ in range(10):
            state = state.with_batch_settled(BATCH)
            outcomes = await asyncio.gather(*[place.writer().write(state) for _ in range(4)], return_exceptions=True)
            assert sorted(map(type, outcomes), key=repr) == sorted([type(None), *[MirrorTakenError] * 3], key=repr)


async def test_the_feed_s_events_are_counted_by_their_receipts(clickhouse: ClickHouse) -> None:
    states = ClickHouseMirrorStateStore(clickhouse, "any")
    before = await states.feed_event_count()
    await select(
        clickhouse,
        "INSERT INTO batches (journal_id, sequence, last_sequence, organization_id, received, stored)"
        " VALUES ('j', 1, 9, 'org_a', 9, 7), ('j', 1, 9, 'org_b', 3, 3)",
    )
    assert await states.feed_event_count() == before + 10


TARGETS = [
    b"/in/summer_sale?click_id=fb_123abc&source=facebook&medium=cpc&utm_campaign=summer2024&x=1&x=2",
    b"/in?utm_source=first&source=second&utm_medium=%66&session_id=s+1%202",
    b"/in?source=&utm_source=b",
    b"/in?flag&=x&empty=&a=b=c&&d",
    b"/in?q=%ff%00%C3%A4&%73ource=encoded",
    b"/in?x=?&campaign=c#f",
    b"/in",
    b"/in?",
    b"http://whole.example/in?source=a",
]
HEADERS = [
    b"Host: track.acmecorp.com\r\nUser-Agent:\t Mozilla/5.0 \t\r\nX-A: 1\r\nx-a: 2\r\nReferer: https://a.example/?b:c\r\n",
    b"USER-AGENT: first\r\nuser-agent: second\r\nX: \xff\xfe\r\nEmpty:\r\n",
    b"",
]


async def test_the_columns_are_those_that_our_own_table_derives(clickhouse: ClickHouse) -> None:
    """Who moves a query from one store to the other finds the same values."""
    events = [event("b" * 32, number + 1) for number in range(len(TARGETS) * len(HEADERS))]
    for number, one in enumerate(events):
        one.event_id = str(uuid.uuid4())
        one.target = TARGETS[number % len(TARGETS)]
        one.headers = HEADERS[number // len(TARGETS)]
    batch = event_pb2.EventBatch(events=events).SerializeToString()
    await ClickHouseEventStore(clickhouse, clickhouse).insert(batch, token="agreement")
    # As bytes in hex: not everything is text.
    plain = ["url", "user_agent", "referer", "source", "medium", "campaign", "session_id", "event_type", "click_id"]
    pairs = ["header_pairs", "query_params"]
    columns = [f"hex({name})" for name in plain]
    columns += [f"arrayMap(pair -> (hex(pair.1), hex(pair.2)), {name})" for name in pairs]
    derived = await select(
        clickhouse,
        f"SELECT toString(event_id), formatDateTime(timestamp, '%FT%T.%fZ'), {', '.join(columns)} FROM events"
        " WHERE journal_id = repeat('b', 32) ORDER BY sequence",
    )
    rows = [orjson.loads(row.line) for row in rows_of(batch, ingested_at=NOW)]
    assert [_of_warehouse(row, plain) for row in rows] == [_of_clickhouse(row) for row in derived]


def _of_clickhouse(row: Any) -> list[Any]:
    event_id, time, *values = row
    return [event_id, time, *values[:-2], *[[tuple(pair) for pair in pairs] for pairs in values[-2:]]]


def _of_warehouse(row: dict[str, Any], plain: list[str]) -> list[Any]:
    request = row["request_data"]
    values = [_hex(request[name] if name in request else row[name]) for name in plain]
    pairs = [[(_hex(name), _hex(value)) for name, value in request[key]] for key in ("headers", "query_params")]
    return [row["event_id"], row["timestamp"], *values, *pairs]


def _hex(value: str | dict[str, str] | None) -> str:
    if isinstance(value, dict):
        return b64decode(value["base64"]).hex().upper()
    return (value or "").encode().hex().upper()
