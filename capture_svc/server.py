"""capture_svc as a process: what it is made of, in the order in which it is made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from capture_svc.assembly import Stores, assemble, at_work
from capture_svc.feed import Feed
from capture_svc.health import report_health
from capture_svc.hosts import WardenHostDirectory
from capture_svc.mirror import follow
from capture_svc.servicer import CaptureServicer
from capture_svc.settings import CaptureSettings
from capture_svc.store.clickhouse import MIGRATIONS, ClickHouseEventStore
from capture_svc.store.connect import connect
from capture_svc.store.journals import ClickHouseJournalWordStore, ClickHouseProbe
from capture_svc.store.mirror_state import ClickHouseMirrorStateStore
from capture_svc.store.quarantine import ClickHouseQuarantineStore
from capture_svc.store.receipts import ClickHouseReceiptStore
from svc_runtime.clickhouse import ClickHouse, use_spool
from svc_runtime.clickhouse_migrations import migrate
from svc_runtime.clock import Clock, SystemClock
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer, wait_for_signal
from svc_runtime.key_validator import RemoteKeyValidator
from svc_runtime.logs import configure_logs, get_logger
from svc_runtime.paging import PageTokens
from svc_runtime.settings import MeshSettings, TelemetrySettings, load_or_exit
from svc_runtime.tasks import running
from svc_runtime.tracing import configure_telemetry
from trellis.capture.v1 import capture_service_pb2, capture_service_pb2_grpc

SERVICE = "capture_svc"
SERVICE_NAME = capture_service_pb2.DESCRIPTOR.services_by_name["CaptureService"].full_name
_FIRST_PATIENCE_SECONDS = 5.0
"""How long we wait for the store before we listen without it."""
_LONGEST_DELAY_SECONDS = 5.0
_log = get_logger(__name__)


async def main() -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    mesh, telemetry, settings = load_or_exit(CaptureSettings)
    await serve(mesh, telemetry, settings)


async def serve(mesh: MeshSettings, telemetry: TelemetrySettings, settings: CaptureSettings) -> None:
    """Wire everything, listen, and leave in the reverse order at a signal."""
    configure_logs(SERVICE, level=mesh.log_level, format_=mesh.log_format)
    dsn, clock = settings.dsn, SystemClock()
    use_spool(dsn)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, configure_telemetry(SERVICE, telemetry).close)
        auth_channel = await stack.enter_async_context(open_channel(mesh, settings.auth_target))
        credentials = Credentials(mesh, SERVICE)

        limits = {"max_execution_time": str(settings.longest_query_seconds)}
        writer = connect(dsn, thread_count=settings.writer_count, name="clickhouse-write")
        stack.push_async_callback(writer.close)
        reader = connect(dsn, thread_count=settings.reader_count, name="clickhouse-read", settings=limits)
        stack.push_async_callback(reader.close)
        parts = assemble(
            Stores(
                events=ClickHouseEventStore(writer, reader),
                receipts=ClickHouseReceiptStore(writer, reader),
                quarantine=ClickHouseQuarantineStore(writer, reader),
                words=ClickHouseJournalWordStore(reader),
                is_shared=not dsn.is_embedded,
            ),
            replica=settings.replica,
            hosts=WardenHostDirectory(auth_channel, credentials),
            clock=clock,
            unclaimed_per_day=settings.unclaimed_per_day,
            unclaimed_bytes_per_day=settings.unclaimed_bytes_per_day,
        )
        migrated = await stack.enter_async_context(running("migrate", _migrate(writer, settings.clickhouse_cluster)))
        await asyncio.wait({migrated}, timeout=_FIRST_PATIENCE_SECONDS)
        if migrated.done():
            migrated.result()
        await stack.enter_async_context(at_work(parts))
        if settings.bigquery.is_on:
            await stack.enter_async_context(_mirroring(settings, parts.feed, clock))

        server = GrpcServer(
            mesh, service_names=[SERVICE_NAME], validate_key=RemoteKeyValidator(auth_channel, credentials)
        )
        servicer = CaptureServicer(parts, PageTokens(mesh.mesh_secret.get_secret_value(), SERVICE))
        server.add(lambda s: capture_service_pb2_grpc.add_CaptureServiceServicer_to_server(servicer, s))
        await server.start(settings.listen)
        stack.push_async_callback(server.stop)
        health = report_health(
            parts.watch,
            ClickHouseProbe(reader, settings.replica),
            lambda is_serving: server.set_serving(SERVICE_NAME, is_serving=is_serving),
            is_ready=migrated.done,
        )
        await stack.enter_async_context(running("health", health))
        # Streams never end by themselves: without this every drain would last its whole time.
        stack.callback(parts.feed.close)
        stack.callback(parts.sessions.close)
        await _wait_for_the_end(migrated)


async def _wait_for_the_end(migrated: asyncio.Task[None]) -> None:
    """Wait for a signal; raise what ended the migration, if it failed for good."""
    signalled = asyncio.ensure_future(wait_for_signal())
    await asyncio.wait({signalled, migrated}, return_when=asyncio.FIRST_COMPLETED)
    if migrated.done():
        migrated.result()
    _log.info("leaving", signal=(await signalled).name)


async def _migrate(writer: ClickHouse, cluster: str) -> None:
    """Migrate as soon as the store is there. Errors: MigrationError."""
    delay = 0.1
    while True:
        try:
            await migrate(writer, MIGRATIONS, cluster=cluster)
        except UnavailableError as error:
            _log.warning("waiting for the store", error=error.message, delay_seconds=delay)
        else:
            return
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)


@contextlib.asynccontextmanager
async def _mirroring(settings: CaptureSettings, feed: Feed, clock: Clock) -> AsyncIterator[None]:
    """Mirror to BigQuery for the time of the block, on a connection of its own."""
    # Google's client brings 50 MB with it: only where there is a mirror.
    from capture_svc.mirror.bigquery import BigQueryWarehouse

    clickhouse = connect(settings.dsn, thread_count=1, name="clickhouse-mirror")
    warehouse = BigQueryWarehouse(settings.bigquery)
    states = ClickHouseMirrorStateStore(clickhouse, settings.bigquery.name)
    work = follow(lambda: feed.reader("bigquery"), states, warehouse, settings.bigquery, clock=clock)
    try:
        async with running("mirror", work):
            yield
    finally:
        await warehouse.close()
        await clickhouse.close()
