"""The mirror on the feed of our own store: pages as they really are, also when they are read again."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture_svc.batch import Batch
from capture_svc.feed import Feed
from capture_svc.intake import Intake
from capture_svc.mirror import Mirror
from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.mirror.state import Key
from capture_svc.quarantine import UnclaimedQuota
from capture_svc.store.clickhouse import ClickHouseEventStore
from capture_svc.store.mirror_state import ClickHouseMirrorStateStore
from capture_svc.store.quarantine import ClickHouseQuarantineStore
from capture_svc.store.receipts import ClickHouseReceiptStore
from svc_runtime.clickhouse import ClickHouse
from svc_runtime.clock import SystemClock
from tests.integration.mirror.conftest import empty_clickhouse
from tests.unit.mirror.fakes import Crash, MemoryWarehouse, Trouble, event
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.store

CRASHES = 6
SETTINGS = BigQuerySettings(project="p", dataset="d", max_seconds=0, max_rows=150)


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    """Return a store for one test."""
    with empty_clickhouse(tmp_path / "chdb") as found:
        yield found


class Store:
    """An intake and a feed over ClickHouse, and journals that write to it."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        clock = SystemClock()
        self._clickhouse = clickhouse
        self._events = ClickHouseEventStore(clickhouse, clickhouse)
        self._receipts = ClickHouseReceiptStore(clickhouse, clickhouse)
        quarantine = ClickHouseQuarantineStore(clickhouse, clickhouse)
        quota = UnclaimedQuota(quarantine, count_per_day=0, bytes_per_day=0)
        self.feed = Feed(self._events, self._receipts, clock, is_shared=False)
        self._intake = Intake(self._events, self._receipts, quarantine, quota, clock=clock, listener=self.feed)
        self._next = Counter[str]()
        self.stored: set[Key] = set()
        self.name = f"mirror-{uuid.uuid4()}"

    async def settle(self, journal_id: str, count: int, *, key: str = "") -> None:
        """Settle a batch of a journal; with a ``key`` every event is the same one, by the client's word."""
        first = self._next[journal_id] + 1
        self._next[journal_id] += count
        events = [event(journal_id, sequence) for sequence in range(first, first + count)]
        for one in events:
            one.event_id = str(uuid.uuid5(uuid.NAMESPACE_URL, key) if key else uuid.uuid4())
            one.idempotency_key = key.encode()
        batch = Batch(
            journal_id=journal_id,
            sequence=first,
            last_sequence=first + count - 1,
            events=event_pb2.EventBatch(events=events).SerializeToString(),
            counts={"org_acmecorp": count},
            is_keyed=bool(key),
        )
        settlement = await self._intake.store(batch)
        await self._intake.confirm([settlement])
        self.stored |= {(journal_id, one.sequence) for index, one in enumerate(events) if index not in settlement.fates}

    def mirror(self, warehouse: MemoryWarehouse) -> Mirror:
        """Start a mirror."""
        states = ClickHouseMirrorStateStore(self._clickhouse, self.name)
        return Mirror(lambda: self.feed.reader("test"), states, warehouse, SETTINGS, clock=SystemClock())


@pytest.mark.parametrize("seed", range(4))
async def test_crashes_while_journals_grow_end_exactly_once(clickhouse: ClickHouse, seed: int) -> None:
    chance = random.Random(seed)
    store = Store(clickhouse)
    journals = [uuid.UUID(int=chance.getrandbits(128)).hex for _ in range(4)]

    async def grow() -> None:
        for _ in range(chance.randrange(1, 6)):
            await store.settle(chance.choice(journals), chance.randrange(1, 60))
        # Of the second of these nothing is stored: a page of the feed may hold nothing else.
        await store.settle(journals[0], 1, key=f"{seed}")

    await grow()
    trouble = Trouble(chance.sample(range(1, 50), CRASHES))
    warehouse = MemoryWarehouse(trouble)
    states = ClickHouseMirrorStateStore(clickhouse, store.name)
    mirror = store.mirror(warehouse)
    while True:
        state = await states.read()
        if state.batch is None and state.settled_count == await states.feed_event_count():
            if trouble.crashes == CRASHES:
                break
            await grow()
        try:
            await mirror.step()
        except Crash:
            await grow()
            mirror = store.mirror(warehouse)
    assert max(Counter(warehouse.table).values()) == 1
    assert set(warehouse.table) == store.stored
    assert len(warehouse.table) == state.settled_count


async def test_journals_of_which_a_part_was_read_are_read_on(clickhouse: ClickHouse) -> None:
    store = Store(clickhouse)
    for journal_id in ("a" * 32, "b" * 32, "c" * 32):
        await store.settle(journal_id, 30)
    reader, cursor, found = store.feed.reader("test"), b"", list[Key]()
    for limit in (10, 7, 9, 1_000, 1_000, 1_000):
        page = await reader.read(cursor, max_event_count=limit)
        cursor = page.cursor
        events = event_pb2.EventBatch.FromString(page.events).events
        found += [(one.journal_id, one.sequence) for one in events]
    assert sorted(found) == sorted(store.stored)
