"""The reading in ClickHouse. The engine decodes the feed's bytes; Python never does."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Self

from analytics_svc.store import Bookmark, Page
from analytics_svc.store.connect import connect
from svc_runtime.clickhouse import ClickHouse, Dsn, select
from svc_runtime.clickhouse_migrations import migrate
from svc_runtime.errors import UnavailableError
from svc_runtime.protobuf_schema import schema_settings
from trellis.capture.v1 import event_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MIGRATIONS = resources.files("analytics_svc.store") / "migrations"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOLLOWER = "analytics"
ARRIVAL_FIELDS = (
    "organization_id",
    "event_id",
    "event_time_ms",
    "event_type",
    "click_id",
    "external_click_id",
    "user_id",
    "campaign_id",
    "scheme",
    "host",
    "target",
    "ip",
    "marks",
    "journal_id",
    "sequence",
)
"""Fields of Event that the reading has a use for: columns of ``arrivals``. The engine passes over all others."""

# A replicated table would drop a block that it has seen before, which is wrong after the reading was emptied.
_NO_DEDUPLICATION = {"insert_deduplicate": "0"}
_COLUMNS = ", ".join(field for field in ARRIVAL_FIELDS if field != "event_time_ms")
# What is there already is looked for among the arrivals' organisations and times alone, which the key finds quickly.
_TAKE_IN = f"""
INSERT INTO events ({_COLUMNS}, event_time)
SELECT {_COLUMNS}, fromUnixTimestamp64Milli(event_time_ms, 'UTC')
FROM arrivals
WHERE event_id NOT IN (
    SELECT event_id FROM events
    WHERE organization_id IN (SELECT organization_id FROM arrivals)
      AND event_time >= (SELECT fromUnixTimestamp64Milli(min(event_time_ms), 'UTC') FROM arrivals)
      AND event_time <= (SELECT fromUnixTimestamp64Milli(max(event_time_ms), 'UTC') FROM arrivals)
)
ORDER BY sequence LIMIT 1 BY event_id
"""  # noqa: S608 - the columns are ours


class ClickHouseReadingStore:
    """``ReadingStore`` on the tables ``arrivals``, ``events`` and ``cursors``.

    A page takes four steps, each whole or not at all but for the third, which may leave a part of its rows when it
    crosses a month: the page into ``arrivals``; what of it ``events`` does not have yet into ``events``; the bookmark.
    Every step before the bookmark can be done again.
    """

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._generation = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, dsn: Dsn) -> AsyncIterator[Self]:
        """Migrate the database and hold a connection for the time of the block.

        Raise UnavailableError, MigrationError.
        """
        clickhouse = connect(dsn)
        try:
            await migrate(clickhouse, MIGRATIONS)
            yield cls(clickhouse)
        finally:
            await clickhouse.close()

    async def bookmark(self) -> Bookmark:
        """See ``ReadingStore.bookmark``."""
        rows = await select(
            self._clickhouse,
            "SELECT generation, cursor, toUnixTimestamp64Milli(watermark_time) FROM cursors"
            " WHERE follower = {follower:String} ORDER BY generation DESC LIMIT 1",
            {"follower": FOLLOWER},
        )
        if not rows:
            self._generation = 0
            return Bookmark(b"", None)
        self._generation, cursor, watermark_ms = rows[0]
        watermark_time = datetime.fromtimestamp(watermark_ms / 1000, UTC) if watermark_ms else None
        return Bookmark(bytes.fromhex(cursor), watermark_time)

    async def write(self, page: Page) -> int:
        """See ``ReadingStore.write``."""
        dsn = self._clickhouse.dsn
        added = await self._clickhouse.run(lambda client: _take_in(client, page, dsn)) if page.event_count else 0
        await self._clickhouse.run(lambda client: _keep(client, page.bookmark, self._generation + 1))
        self._generation += 1
        return added


def _take_in(client: "Client", page: Page, dsn: Dsn) -> int:
    client.command("TRUNCATE TABLE arrivals")
    client.raw_insert(
        "arrivals",
        column_names=ARRIVAL_FIELDS,
        insert_block=_protobuf_list(page.events),
        fmt="ProtobufList",
        settings=schema_settings(dsn, event_pb2.Event.DESCRIPTOR, ARRIVAL_FIELDS),
    )
    arrived = _count(client, "arrivals")
    if arrived != page.event_count:
        # Going on would lose events without a word.
        raise UnavailableError(f"a page of {page.event_count} events was read as {arrived}")
    before = _count(client, "events")
    client.command(_TAKE_IN, settings=_NO_DEDUPLICATION)
    return _count(client, "events") - before


def _keep(client: "Client", bookmark: Bookmark, generation: int) -> None:
    client.insert(
        "cursors",
        [[FOLLOWER, generation, bookmark.cursor.hex(), bookmark.watermark_time or _EPOCH]],
        column_names=["follower", "generation", "cursor", "watermark_time"],
        column_type_names=["LowCardinality(String)", "UInt64", "String", "DateTime64(3, 'UTC')"],
        settings=_NO_DEDUPLICATION,
    )


def _count(client: "Client", table: str) -> int:
    # A whole table's count is in its metadata: nothing is read.
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])  # noqa: S608 - one of our tables


def _protobuf_list(events: Sequence[bytes]) -> bytes:
    """Return the events as the engine's ``ProtobufList``: an ``EventBatch`` with its length in front."""
    length = sum(map(len, events))
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return b"".join((prefix, *events))
