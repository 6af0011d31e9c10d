"""analytics_svc as a process: what it is made of, in the order in which it is made."""

import asyncio
from contextlib import AsyncExitStack

from analytics_svc.follow import Follower
from analytics_svc.metrics import report_watermark_age
from analytics_svc.settings import AnalyticsSettings
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from svc_runtime.clickhouse import Dsn, use_spool
from svc_runtime.clock import SystemClock
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer, wait_for_signal
from svc_runtime.logs import configure_logs, get_logger
from svc_runtime.settings import MeshSettings, TelemetrySettings, load_or_exit
from svc_runtime.tasks import running
from svc_runtime.tracing import configure_telemetry

SERVICE = "analytics_svc"
_log = get_logger(__name__)


async def main() -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    mesh, telemetry, settings = load_or_exit(AnalyticsSettings)
    await serve(mesh, telemetry, settings)


async def serve(mesh: MeshSettings, telemetry: TelemetrySettings, settings: AnalyticsSettings) -> None:
    """Wire everything, listen, and leave in the reverse order at a signal."""
    configure_logs(SERVICE, level=mesh.log_level, format_=mesh.log_format)
    use_spool(settings.dsn)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, configure_telemetry(SERVICE, telemetry).close)
        store = await _open_store(stack, settings.dsn)
        channel = await stack.enter_async_context(open_channel(mesh, settings.capture_target))
        follower = Follower(
            channel,
            Credentials(mesh, SERVICE),
            store,
            clock=SystemClock(),
            page_event_count=settings.page_event_count,
            write_interval_seconds=settings.write_interval_seconds,
        )
        report_watermark_age(follower.watermark_age_seconds)
        await stack.enter_async_context(running("feed follower", follower.run()))
        server = GrpcServer(mesh, service_names=[])
        await server.start(settings.listen)
        stack.push_async_callback(server.stop)
        signal = await wait_for_signal()
        _log.info("leaving", signal=signal.name)


async def _open_store(stack: AsyncExitStack, dsn: Dsn) -> ClickHouseReadingStore:
    """Wait for ClickHouse: a server that is not there yet, or a process that leaves the directory just now."""
    while True:
        try:
            return await stack.enter_async_context(ClickHouseReadingStore.open(dsn))
        except UnavailableError as error:
            _log.warning("waiting for ClickHouse", error=repr(error))
            await asyncio.sleep(1.0)
