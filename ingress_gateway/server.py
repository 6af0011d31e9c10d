"""A gateway worker, put together in reading order and taken apart in the reverse: that is the drain."""

import asyncio
import gc
import socket
import sys
import time
from contextlib import AsyncExitStack

from enrichment.geo import Geo
from ingress_gateway.app import App
from ingress_gateway.counters import Counters
from ingress_gateway.facts import ClickReader, refresh_forever
from ingress_gateway.gateway import Channels, Gateway
from ingress_gateway.ids import VisitorIds
from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.limits import JournalLimits
from ingress_gateway.links import Links
from ingress_gateway.metrics import register_metrics
from ingress_gateway.metrics_page import MetricsPage
from ingress_gateway.organisations import Organisations
from ingress_gateway.protocol import GatewayServer, require_c_parser
from ingress_gateway.recorder import Recorder
from ingress_gateway.routes.table import routes
from ingress_gateway.routing import Routing
from ingress_gateway.sampling import Sampler
from ingress_gateway.settings import GatewaySettings
from ingress_gateway.shipper import Shipper, checkpoint_forever
from ingress_gateway.snapshots import KeyWatch, RoutingWatch
from ingress_gateway.streams import Streams
from ingress_gateway.unclaimed import Unclaimed
from ingress_gateway.usage import UsageExchange
from ingress_gateway.visitors import Visitors
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import wait_for_signal
from svc_runtime.logs import configure_logs, get_logger
from svc_runtime.settings import MeshSettings, TelemetrySettings, load_or_exit
from svc_runtime.tasks import keep_running, running
from svc_runtime.tracing import configure_telemetry

SERVICE = "ingress_gateway"
_BACKLOG = 4096
_FIRST_WORD_SECONDS = 3.0
_log = get_logger(__name__)


async def main() -> None:
    """Run until SIGTERM or SIGINT, then stop accepting, answer what is open, flush the journal and leave."""
    mesh, telemetry_settings, settings = load_or_exit(GatewaySettings)
    configure_logs(SERVICE, level=mesh.log_level, format_=mesh.log_format)
    require_c_parser()
    async with AsyncExitStack() as stack:
        telemetry = configure_telemetry(SERVICE, telemetry_settings, decides_itself=True)
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        gateway = await build(mesh, telemetry_settings, settings, stack)
        await _first_word(gateway)
        await serve(gateway, stack)
        signal = await wait_for_signal()
        _log.info("draining", signal=signal.name)


async def _first_word(gateway: Gateway) -> None:
    """Wait a little for keys and campaigns where the disk remembers none: workers share a port, and one that knows
    nobody would take its part of the requests from those that do.
    """
    deadline = time.monotonic() + _FIRST_WORD_SECONDS
    while time.monotonic() < deadline:
        if gateway.organisations.is_ready and gateway.routing.is_ready:
            return
        await asyncio.sleep(0.05)


async def build(
    mesh: MeshSettings, telemetry: TelemetrySettings, settings: GatewaySettings, stack: AsyncExitStack
) -> Gateway:
    """Make the parts of a worker and start what runs in the background."""
    # The writer thread and the loop share one interpreter lock: hand it over ten times as often as by default.
    sys.setswitchinterval(0.0005)
    counters = Counters()
    credentials = Credentials(mesh, f"{SERVICE}/{settings.name}")
    channels = Channels(
        auth=open_channel(mesh, settings.auth_target),
        attribution=open_channel(mesh, settings.attribution_target),
        capture=open_channel(mesh, settings.capture_target),
        analytics=open_channel(mesh, settings.analytics_target),
    )
    for channel in (channels.auth, channels.attribution, channels.capture, channels.analytics):
        stack.push_async_callback(channel.close)

    journal = await _open_journal(settings, settings.worker, stack)
    shipper = Shipper(journal, channels.capture, credentials, sender=f"{socket.gethostname()}/{settings.name}")
    await stack.enter_async_context(running("checkpoint", checkpoint_forever(journal)))
    await stack.enter_async_context(running("ship", shipper.run()))
    if settings.worker == 0:
        await _ship_left_journals(settings, channels, credentials, stack)

    organisations = Organisations(
        settings.key_pepper.get_secret_value(), mesh_secret=mesh.mesh_secret.get_secret_value()
    )
    routing = Routing()
    snapshots = settings.data_dir / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_watch = KeyWatch(
        organisations,
        channels.auth,
        credentials,
        path=snapshots / f"keys-{settings.name}.pb",
        name=settings.name,
    )
    routing_watch = RoutingWatch(
        routing,
        channels.attribution,
        credentials,
        path=snapshots / f"routing-{settings.name}.pb",
        name=settings.name,
    )
    key_watch.load()
    routing_watch.load()
    await stack.enter_async_context(running("watch keys", key_watch.run()))
    await stack.enter_async_context(running("watch routing", routing_watch.run()))

    exchange = UsageExchange(routing.usage, channels.attribution, credentials)
    await stack.enter_async_context(
        running("exchange usage", keep_running("exchange usage", lambda: exchange.run(_now_ms)))
    )
    reader = ClickReader(Geo(settings.geoip_paths))
    await stack.enter_async_context(running("geoip", refresh_forever(reader)))
    recorder = Recorder(journal)
    visitors = Visitors(VisitorIds(settings.key_pepper.get_secret_value()))
    gateway = Gateway(
        settings=settings,
        organisations=organisations,
        routing=routing,
        journal=journal,
        shipper=shipper,
        key_watch=key_watch,
        routing_watch=routing_watch,
        recorder=recorder,
        visitors=visitors,
        links=Links(organisations, routing, recorder, visitors, counters, reader),
        reader=reader,
        unclaimed=Unclaimed(recorder, counters, per_second=settings.unclaimed_per_second),
        sampler=Sampler(telemetry.sampling_ratio, is_enabled=telemetry.exports_traces),
        counters=counters,
        channels=channels,
        credentials=credentials,
        metrics_page=MetricsPage(settings.data_dir / "metrics", settings.name),
        streams=Streams(settings.max_streams, organization_limit=settings.max_streams_per_organization),
    )
    register_metrics(gateway)
    await stack.enter_async_context(running("metrics page", gateway.metrics_page.write_forever()))
    return gateway


async def serve(gateway: Gateway, stack: AsyncExitStack) -> tuple[str, int]:
    """Listen; return host and port. Leaving the stack stops accepting and answers what is open."""
    settings = gateway.settings
    server = GatewayServer(App(gateway, routes()), settings, gateway.links, gateway.sampler, gateway.counters)
    stack.push_async_callback(server.shutdown, 5.0)
    stack.push_async_callback(gateway.journal.flush)
    await stack.enter_async_context(running("sweep", keep_running("sweep", server.sweep_forever)))
    listener = await asyncio.get_running_loop().create_server(
        server, settings.http_host, settings.http_port, reuse_port=True, backlog=_BACKLOG
    )
    stack.callback(listener.close)
    stack.callback(server.pre_shutdown)
    stack.callback(gateway.streams.drain)
    # What start-up made lives for ever: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    address: tuple[str, int] = listener.sockets[0].getsockname()[:2]
    _log.info("listening", address=f"{address[0]}:{address[1]}", worker=settings.name)
    return address


async def _open_journal(settings: GatewaySettings, worker: int, stack: AsyncExitStack) -> Journal:
    limits = JournalLimits(
        segment_bytes=settings.journal_segment_bytes,
        disk_bytes_limit=settings.journal_disk_bytes,
        pending_bytes_limit=settings.journal_pending_bytes,
        batch_seconds=settings.batch_ms / 1000,
        overdue_seconds=settings.redirect_budget_ms / 1000,
    )
    spare = settings.spare_journal_dir
    journal = await Journal.open(
        settings.data_dir / "journal" / f"w{worker}",
        limits,
        spare_directory=spare / f"w{worker}" if spare else None,
    )
    stack.push_async_callback(journal.close)
    if journal.backlog.event_count:
        _log.info("events of an earlier run wait in the journal", event_count=journal.backlog.event_count)
    return journal


async def _ship_left_journals(
    settings: GatewaySettings, channels: Channels, credentials: Credentials, stack: AsyncExitStack
) -> None:
    """Ship what workers left behind whose number is no more: there were more of them once."""
    base = settings.data_dir / "journal"
    for directory in sorted(base.glob("w*")):
        number = directory.name[1:]
        if number.isdigit() and int(number) >= settings.workers:
            journal = await _open_journal(settings, int(number), stack)
            shipper = Shipper(journal, channels.capture, credentials, sender=f"{socket.gethostname()}/w{number} (left)")
            await stack.enter_async_context(running("checkpoint", checkpoint_forever(journal)))
            await stack.enter_async_context(running("ship", shipper.run()))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
