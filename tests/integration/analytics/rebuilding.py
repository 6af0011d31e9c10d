"""A capture_svc, a reading that follows it, and what makes it again: all real, in one process."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from analytics_svc.follow import Follower
from analytics_svc.identity.end import EndHasher
from analytics_svc.mappings.mapping import ActiveMappings
from analytics_svc.operation import Operation
from analytics_svc.operations import Operations
from analytics_svc.projection.enricher import Enricher
from analytics_svc.raw import CaptureEvents
from analytics_svc.rebuild import Rederivation
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.connect import connect, open_client
from analytics_svc.store.making import open_makers
from analytics_svc.store.operations import ClickHouseOperationStore
from analytics_svc.store.projection import ClickHouseProjection
from svc_runtime.clickhouse import Dsn
from svc_runtime.clock import SystemClock
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.paging import PageTokens
from svc_runtime.tasks import running
from tests.contract.analytics.fake_capture import MESH
from tests.contract.analytics.test_follow import until
from tests.contract.capture.things import CaptureClient, FakeJournal, make_event, running_capture
from tests.integration.capture.conftest import opened
from trellis.capture.v1 import event_pb2

HASHER = EndHasher(b"k" * 32)
ORGANIZATIONS = ("org_a", "org_b", "org_c")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/604.1",
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
    "python-requests/2.32",
)


def traffic(count: int, *, seed: int, start: datetime, days: float, first: int = 0) -> list[event_pb2.Event]:
    """Return clicks, pages and conversions of a few visitors, in the order in which they came, which is not time's.

    Conversions go back to clicks before and after them, near and far; sessions cross the ends of days and months.
    """
    chance = random.Random(seed)
    length_ms = int(days * 86_400_000)
    start_ms = int(start.timestamp() * 1000)
    return [_event(chance, first + n, start_ms + chance.randrange(length_ms)) for n in range(count)]


def _event(chance: random.Random, number: int, time_ms: int) -> event_pb2.Event:
    organization_id = chance.choices(ORGANIZATIONS, (6, 3, 1))[0]
    if chance.random() < 0.5:
        time_ms -= time_ms % 86_400_000 - chance.randrange(1_800_000)  # around midnight, so that sessions cross it
    fields: dict[str, Any] = {
        "event_time_ms": time_ms,
        "user_id": chance.choice(("", *(f"usr_{n}" for n in range(40)))),
        "click_id": f"tc{number}",
        "external_click_id": b"fb_%d" % chance.randrange(300),
        "headers": f"Host: t.example\r\nUser-Agent: {chance.choice(_AGENTS)}\r\n".encode(),
        "ip": f"198.51.100.{chance.randrange(9)}",
    }
    kind = chance.random()
    if kind < 0.55:
        fields["target"] = b"/in/sale?source=%s&zoneid=z%d" % (chance.choice((b"facebook", b"ads")), number % 7)
        if number % 4 == 0:
            fields["target"] += b"&customer_id=c%d" % (number % 60)
    elif kind < 0.75:
        fields |= {"event_type": b"pageview", "route": "track", "target": b"/track?page=%d" % number}
    else:
        goes_back = b"fb_%d" % chance.randrange(300) if chance.random() < 0.7 else b"tc%d" % chance.randrange(4000)
        fields |= {
            "event_type": b"purchase",
            "route": chance.choice(("postback", "pixel")),
            "target": b"/postback?click_id=%s&amount=%d.50&currency=EUR&txid=t%d" % (goes_back, number % 90, number),
            "external_click_id": b"",
            "click_id": "",
        }
    return make_event(organization_id, **fields)


@dataclass
class Site:
    """A capture_svc and a reading of it."""

    capture: CaptureClient
    dsn: Dsn
    store: ClickHouseReadingStore
    follower: Follower
    operations: Operations
    mappings: dict[str, Any]
    journal: FakeJournal

    async def send(self, events: Sequence[event_pb2.Event]) -> None:
        """Let capture_svc store events."""
        batches = [self.journal.batch(events[n : n + 500]) for n in range(0, len(events), 500)]
        await self.capture.send(self.journal, *batches)

    async def followed(self, count: int) -> None:
        """Wait until the reading has so many events."""
        await until(lambda: self.query("SELECT count() FROM events")[0][0] == count, seconds=60)
        async with self.store.writing():
            pass  # the page is written to its end

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Ask the reading."""
        client = open_client(self.dsn)
        try:
            rows: Sequence[Sequence[Any]] = client.query(sql, parameters=dict(parameters or {})).result_rows
        finally:
            client.close()
        return rows

    def checksums(self, where: str = "1") -> dict[str, Any]:
        """Return what tells one reading from another: all columns of all rows, what the roll-ups come to, the edges."""
        states = "finalizeAggregation"
        return {
            "events": self.query(
                f"SELECT count(), groupBitXor(sipHash64(toString(tuple(*, user_key)))) FROM events WHERE {where}"
            ),
            **{
                table: self.query(
                    f"SELECT count(), groupBitXor(sipHash64(toString(tuple(*)))) FROM (SELECT * REPLACE ({replaced})"
                    f" FROM {table} FINAL WHERE {where})"
                )
                for table, replaced in {
                    "rollup_minute": f"{states}(users) AS users, {states}(sessions) AS sessions",
                    "rollup_day": "value AS value",
                    "rollup_unique": f"{states}(users) AS users, {states}(sessions) AS sessions",
                    "identity_edges": "side AS side",
                }.items()
            },
        }

    async def over(self, operation: Operation, *, seconds: float = 60) -> Operation:
        """Wait until an operation is over."""
        async with asyncio.timeout(seconds):
            while not (found := await self.operations.read(operation.operation_id)).state.is_over:  # noqa: ASYNC110 - as a caller would
                await asyncio.sleep(0.05)
        return found


@contextlib.asynccontextmanager
async def site(capture_dsn: Dsn, dsn: Dsn, *, is_following: bool = True) -> AsyncIterator[Site]:
    """Run all of it for the time of the block."""
    mappings: dict[str, Any] = {}

    async def active_mappings() -> ActiveMappings:
        return mappings

    async def retention() -> Mapping[str, datetime]:
        return {"": datetime.now(UTC) - timedelta(days=36_500)}

    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(opened(capture_dsn))
        capture = await stack.enter_async_context(running_capture(stores))
        enricher = Enricher()
        store = await stack.enter_async_context(
            ClickHouseReadingStore.open(dsn, enricher=enricher, active_mappings=active_mappings, hasher=HASHER)
        )
        channel = await stack.enter_async_context(open_channel(MESH, f"127.0.0.1:{capture.port}"))
        credentials = Credentials(MESH, "analytics_svc")
        follower = Follower(
            channel, credentials, store, clock=SystemClock(), page_event_count=1000, write_interval_seconds=0.01
        )
        makers = await stack.enter_async_context(
            open_makers(dsn, enricher, active_mappings, retention, count=2, hasher=HASHER)
        )
        clickhouse = connect(dsn)
        stack.push_async_callback(clickhouse.close)
        operations = Operations(
            ClickHouseOperationStore(clickhouse), PageTokens("m" * 32, "analytics_svc"), clock=SystemClock()
        )
        engine = Rederivation(
            CaptureEvents(channel, credentials, page_event_count=500),
            makers,
            ClickHouseProjection(clickhouse),
            operations,
            writing=store.writing,
        )
        await stack.enter_async_context(running("operations", operations.run(engine.run)))
        if is_following:
            await stack.enter_async_context(running("follower", follower.run()))
        yield Site(capture, dsn, store, follower, operations, mappings, FakeJournal())
