"""The reading in ClickHouse: pages of the feed become rows, each event once, with everything that counts them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from importlib import resources
from typing import TYPE_CHECKING, Self

from analytics_svc import metrics
from analytics_svc.claims.claim import ActiveClaims, MadeClaim
from analytics_svc.identity.end import EndHasher
from analytics_svc.mappings.mapping import ActiveMappings
from analytics_svc.projection.enricher import Enricher
from analytics_svc.store import Bookmark, Page, rollups, settle
from analytics_svc.store.claiming import assign_staged
from analytics_svc.store.connect import cause_of, connect
from analytics_svc.store.derive import Derived, Deriver
from analytics_svc.store.edges import keep_page
from analytics_svc.store.intents import close_intent, open_intent, open_intents
from analytics_svc.store.moving import move_claimed
from svc_runtime.clickhouse import ClickHouse, Dsn, select
from svc_runtime.clickhouse_migrations import migrate
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MIGRATIONS = resources.files("analytics_svc.store") / "migrations"
FOLLOWER = "analytics"
STAGED, SETTLED = "live_staged", "live_settled"
_PREFIX = "live"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A replicated table would drop a block that it has seen before, which is wrong after the reading was emptied.
_NO_DEDUPLICATION = {"insert_deduplicate": "0"}
# What is there already is looked for among the page's organisations and times alone, which the key finds quickly.
_KNOWN = f"""
SELECT event_id FROM events
WHERE organization_id IN (SELECT organization_id FROM {STAGED})
  AND event_time >= (SELECT min(event_time) FROM {STAGED}) AND event_time <= (SELECT max(event_time) FROM {STAGED})
  AND event_id IN (SELECT event_id FROM {STAGED})
"""  # noqa: S608 - our own text
_log = get_logger(__name__)


async def no_mappings() -> ActiveMappings:
    """Return no mapping."""
    return {}


async def no_claims() -> ActiveClaims:
    """Return no claim."""
    return {}


class ClickHouseReadingStore:
    """``ReadingStore`` on the tables ``events``, the roll-ups, ``cursors`` and ``intents``.

    A page is derived and settled in memory. Then, each step whole or not at all but for inserts that cross a month: an
    intent with the days that will be touched; older rows that the page changes; the page's rows into ``events``; the
    roll-ups; the bookmark; the end of the intent. Whoever finds an open intent counts its days anew, and gets the page
    again, of which it adds what is missing.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        deriver: Deriver,
        active_mappings: Callable[[], Awaitable[ActiveMappings]],
        active_claims: Callable[[], Awaitable[ActiveClaims]],
        hasher: EndHasher | None,
    ) -> None:
        self._clickhouse = clickhouse
        self._deriver = deriver
        self._active_mappings = active_mappings
        self._hasher = hasher
        self._active_claims = active_claims
        self._generation = 0
        self._lock = asyncio.Lock()
        self._may_be_torn = True

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        dsn: Dsn,
        *,
        enricher: Enricher | None = None,
        active_mappings: Callable[[], Awaitable[ActiveMappings]] = no_mappings,
        active_claims: Callable[[], Awaitable[ActiveClaims]] = no_claims,
        hasher: EndHasher | None = None,
    ) -> AsyncIterator[Self]:
        """Migrate the database and hold a connection for the time of the block.

        ``active_mappings`` and ``active_claims`` are asked for every page; without a ``hasher`` no edges are kept.
        Raise UnavailableError, MigrationError.
        """
        clickhouse = connect(dsn)
        try:
            await migrate(clickhouse, MIGRATIONS)
            if enricher is None:
                enricher = await asyncio.to_thread(Enricher)
            deriver = Deriver(dsn, enricher, prefix=_PREFIX)
            await clickhouse.run(lambda client: _make_tables(client, deriver))
            yield cls(clickhouse, deriver, active_mappings, active_claims, hasher)
        finally:
            await clickhouse.close()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Keep every page waiting for the time of the block: for whoever replaces a part of ``events`` himself.

        What was written before is there, roll-ups and all. What the block leaves half done where it fails is put in
        order before anybody writes again.
        """
        async with self._lock:
            if self._may_be_torn:
                await self._repair()
            self._may_be_torn = True
            yield
            self._may_be_torn = False

    async def bookmark(self) -> Bookmark:
        """See ``ReadingStore.bookmark``. Puts in order what a crash, or a failed write, has left."""
        async with self._lock:
            await self._repair()
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
        """See ``ReadingStore.write``. A cancelled caller leaves when the page is written, or has failed."""
        task = asyncio.ensure_future(self._write(page))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The work goes on in its thread: nobody else may write meanwhile, nor take the page for unwritten.
            await asyncio.wait([task])
            raise

    async def _write(self, page: Page) -> int:
        async with self._lock:
            if self._may_be_torn:
                await self._repair()
            generation = self._generation + 1
            if not page.event_count:
                await self._clickhouse.run(lambda client: _keep(client, page.bookmark, generation))
                self._generation = generation
                return 0
            derived = await self._derive(page, await self._active_mappings())
            metrics.unreadable_events.add(derived.unreadable_count)
            self._may_be_torn = True
            claims, hasher = await self._active_claims(), self._hasher
            added = await self._clickhouse.run(lambda client: _take_in(client, page, generation, claims, hasher))
            self._generation, self._may_be_torn = generation, False
            return added

    async def _derive(self, page: Page, mappings: ActiveMappings) -> Derived:
        deriver = self._deriver
        try:
            derived = await self._clickhouse.run(
                lambda client: _derived(client, lambda: deriver.derive(client, page.events, STAGED, mappings))
            )
        except Exception as error:  # noqa: BLE001 - the engine, or a rule that one event of the page breaks
            _log.warning("a page is read event by event", error=cause_of(error), event_count=page.event_count)
            derived = await self._clickhouse.run(
                lambda client: _derived(
                    client, lambda: deriver.derive_one_by_one(client, page.events, STAGED, mappings)
                )
            )
        if derived.event_count != page.event_count:
            # Going on would lose events without a word.
            raise UnavailableError(f"a page of {page.event_count} events was read as {derived.event_count}")
        return derived

    async def _repair(self) -> None:
        count = await self._clickhouse.run(_repair)
        self._may_be_torn = False
        if count:
            _log.info("days that were being changed are counted anew", intent_count=count)


def _make_tables(client: "Client", deriver: Deriver) -> None:
    # What a process before has left may be of another form. All of it is made anew when it is needed.
    left = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine IN ('Memory', 'Join')"
    ).result_rows
    for (name,) in left:
        client.command(f"DROP TABLE IF EXISTS {name}")
    deriver.prepare(client)
    for name in (STAGED, SETTLED):
        client.command(f"CREATE OR REPLACE TABLE {name} AS events ENGINE = Memory")


def _derived(client: "Client", derive: Callable[[], Derived]) -> Derived:
    client.command(f"TRUNCATE TABLE {STAGED}")
    try:
        derived = derive()
    except ValueError as error:
        raise UnavailableError(f"a page cannot be decoded ({type(error).__name__})") from None
    staged_count = _count(client, STAGED)
    if staged_count != derived.row_count:
        raise UnavailableError(f"{derived.row_count} events were derived as {staged_count} rows")
    return derived


def _take_in(client: "Client", page: Page, generation: int, claims: ActiveClaims, hasher: EndHasher | None) -> int:
    client.command(f"TRUNCATE TABLE {SETTLED}")
    assigned = _assign(client, claims)
    staged_count = _count(client, STAGED)
    fresh_count = _drop_known(client)
    if fresh_count < staged_count:
        _move_known(client, assigned)
    if not fresh_count:
        _keep(client, page.bookmark, generation)
        return 0
    settle.settle(client, STAGED, SETTLED)
    settled_count = _count(client, SETTLED)
    if settled_count != fresh_count:
        raise UnavailableError(f"{fresh_count} events were settled as {settled_count}")
    changed = settle.affected(client, SETTLED)
    organization_ids, days = _touched(client)
    intent = open_intent(client, {*organization_ids, *changed.organization_ids}, {*days, *changed.days})
    settle.reconcile(client, changed)
    if hasher:
        keep_page(client, STAGED, SETTLED, hasher)
    client.command(f"INSERT INTO events SELECT * FROM {SETTLED}", settings=_NO_DEDUPLICATION)  # noqa: S608 - our table
    rollups.add(client, SETTLED)
    _keep(client, page.bookmark, generation)
    close_intent(client, intent)
    return fresh_count


_Assigned = Sequence[tuple[MadeClaim, tuple[int, int]]]
"""Claims that may have some of the staged events, and the span of these, as Unix milliseconds."""


def _assign(client: "Client", claims: ActiveClaims) -> _Assigned:
    """Keep which claims may have the staged events, before these are seen."""
    if not claims:
        return []
    rows = client.query(
        "SELECT toString(organization_id), toUnixTimestamp64Milli(min(event_time)),"  # noqa: S608 - our own table
        f" toUnixTimestamp64Milli(max(event_time)) FROM {STAGED} GROUP BY organization_id"
    ).result_rows
    found: list[tuple[MadeClaim, tuple[int, int]]] = []
    for organization_id, first, last in rows:
        own = claims.get(organization_id)
        if own and assign_staged(client, STAGED, own):
            found += [(made, (first, last)) for made in own]
    return found


def _move_known(client: "Client", assigned: _Assigned) -> None:
    """Give events that are there already, made from the raw ones before the feed brought them, to their claims."""
    for made, span in assigned:
        move_claimed(client, made.organization_id, made.claim.campaign_id, [made.claim.version], span)


def _drop_known(client: "Client") -> int:
    """Drop from the staged rows those that are there already; return how many are left."""
    known_count = int(client.query(f"SELECT count() FROM ({_KNOWN})").result_rows[0][0])  # noqa: S608 - our own text
    if known_count:
        client.command(f"ALTER TABLE {STAGED} DELETE WHERE event_id IN ({_KNOWN})", settings={"mutations_sync": "1"})
    return _count(client, STAGED)


def _touched(client: "Client") -> tuple[Sequence[str], Sequence[date]]:
    organization_ids, days = client.query(
        f"SELECT groupUniqArray(toString(organization_id)), groupUniqArray(toDate(event_time, 'UTC')) FROM {SETTLED}"  # noqa: S608 - our own table
    ).result_rows[0]
    return organization_ids, days


def _repair(client: "Client") -> int:
    intents = open_intents(client)
    for intent in intents:
        if intent.is_of_claim:
            rollups.recount(client, intent.organization_ids, intent.days)
        else:
            settle.repair(client, intent.organization_ids, intent.days)
        close_intent(client, intent)
    return len(intents)


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
