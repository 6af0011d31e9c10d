"""analytics_svc as a process: what it is made of, in the order in which it is made."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from analytics_svc.admission import Admission, Capacity, Weight
from analytics_svc.assembly import identifying, projecting
from analytics_svc.behavior.candidates import ConversionCandidates
from analytics_svc.behavior.exports import JourneyExports
from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.cache import ResultCache, Results
from analytics_svc.claims.claims import ClaimsInForce
from analytics_svc.expiry import Expiry
from analytics_svc.explain_cell import CellExplainer
from analytics_svc.follow import Follower
from analytics_svc.identity.end import EndHasher
from analytics_svc.identity.people import People
from analytics_svc.linking.questions import LinkQuestions
from analytics_svc.mappings.mappings import MappingsInForce
from analytics_svc.metrics import report_admission, report_watermark_age
from analytics_svc.projection.enricher import Enricher
from analytics_svc.reports import Reports
from analytics_svc.retention import Retentions
from analytics_svc.run_sql import SqlRunner
from analytics_svc.servicer.analytics import AnalyticsServicer
from analytics_svc.servicer.explain import ExplainServicer
from analytics_svc.servicer.journeys import JourneyServicer
from analytics_svc.servicer.links import LinkServicer
from analytics_svc.settings import AnalyticsSettings
from analytics_svc.sql_guard import QueryLimits, tenant_schema
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.cache_redis import RedisResultCache
from analytics_svc.store.claims import ClickHouseClaimStore
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.connect import connect
from analytics_svc.store.expiry import ClickHouseExpiry
from analytics_svc.store.mappings import ClickHouseMappingStore
from analytics_svc.store.projection import ClickHouseProjection
from analytics_svc.store.reader import ClickHouseReadingReader
from analytics_svc.store.sql import ClickHouseStatements
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.clickhouse import Dsn, use_spool
from svc_runtime.clock import SystemClock
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer, wait_for_signal
from svc_runtime.key_validator import RemoteKeyValidator
from svc_runtime.logs import configure_logs, get_logger
from svc_runtime.paging import PageTokens
from svc_runtime.settings import MeshSettings, TelemetrySettings, load_or_exit
from svc_runtime.tasks import running
from svc_runtime.tracing import configure_telemetry
from trellis.analytics.v1 import (
    analytics_service_pb2,
    explain_service_pb2,
    identity_service_pb2,
    journey_service_pb2,
    link_service_pb2,
    overlay_service_pb2,
    projection_service_pb2,
)
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import explain_service_pb2_grpc as explain_grpc
from trellis.analytics.v1 import identity_service_pb2_grpc as identity_grpc
from trellis.analytics.v1 import journey_service_pb2_grpc as journey_grpc
from trellis.analytics.v1 import link_service_pb2_grpc as link_grpc
from trellis.analytics.v1 import overlay_service_pb2_grpc as overlay_grpc
from trellis.analytics.v1 import projection_service_pb2_grpc as projection_grpc

SERVICE = "analytics_svc"
ANALYTICS_SERVICE = analytics_service_pb2.DESCRIPTOR.services_by_name["AnalyticsService"].full_name
EXPLAIN_SERVICE = explain_service_pb2.DESCRIPTOR.services_by_name["ExplainService"].full_name
JOURNEY_SERVICE = journey_service_pb2.DESCRIPTOR.services_by_name["JourneyService"].full_name
PROJECTION_SERVICE = projection_service_pb2.DESCRIPTOR.services_by_name["ProjectionService"].full_name
LINK_SERVICE = link_service_pb2.DESCRIPTOR.services_by_name["LinkService"].full_name
IDENTITY_SERVICE = identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"].full_name
OVERLAY_SERVICE = overlay_service_pb2.DESCRIPTOR.services_by_name["OverlayService"].full_name
_GEOIP_SECONDS = 30.0
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
        enricher = await asyncio.to_thread(Enricher, settings.geoip_paths)
        await stack.enter_async_context(running("GeoIP files", _refresh(enricher)))
        mapping_store = _open_mappings(stack, settings.dsn)
        in_force = MappingsInForce(mapping_store)
        claim_store = _open_claims(stack, settings.dsn)
        claims = ClaimsInForce(claim_store)
        hasher = EndHasher((settings.identity_secret or mesh.mesh_secret).get_secret_value().encode())
        store = await _open_store(stack, settings.dsn, enricher, in_force, claims, hasher)
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
        expiry = _open_expiry(stack, settings, store)
        await stack.enter_async_context(running("expiry", expiry.run()))
        admission = open_admission(settings)
        sql = await _open_sql(stack, settings, admission, watermark=follower.watermark_time)
        reader = await _open_reader(stack, settings, admission)
        links = LinkQuestions(
            reader.weighing(_linking_weight(settings)),
            clock=SystemClock(),
            watermark_time=follower.watermark_time,
            window=timedelta(days=settings.find_window_days),
        )
        realtime = RealtimeQuestions(reader, clock=SystemClock(), watermark_time=follower.watermark_time)
        people = People(reader, hasher, most_neighbours=settings.identity_most_neighbours)
        results = Results(await _open_cache(stack, settings))
        reports = Reports(reader, results, watermark=follower.watermark_time, clock=SystemClock())
        page_tokens = PageTokens(mesh.mesh_secret.get_secret_value(), SERVICE)
        grouping = reader.weighing(_grouping_weight(settings))
        behavior = BehaviorQuestions(
            reader,
            results,
            clock=SystemClock(),
            watermark_time=follower.watermark_time,
            grouping=grouping,
            people=people,
        )
        exports = JourneyExports(grouping, watermark_time=follower.watermark_time)
        candidates = ConversionCandidates(reader, watermark_time=follower.watermark_time)
        journeys = JourneyServicer(exports, candidates, clock=SystemClock())
        servicer = AnalyticsServicer(
            sql=sql,
            realtime=realtime,
            reports=reports,
            behavior=behavior,
            page_tokens=page_tokens,
            clock=SystemClock(),
        )
        projection, overlays = await stack.enter_async_context(
            projecting(
                settings,
                store=store,
                reader=reader,
                enricher=enricher,
                mapping_store=mapping_store,
                in_force=in_force,
                claim_store=claim_store,
                claims_in_force=claims,
                capture_channel=channel,
                credentials=Credentials(mesh, SERVICE),
                page_tokens=page_tokens,
                clock=SystemClock(),
                watermark=follower.watermark_time,
                hasher=hasher,
            )
        )
        identity = await stack.enter_async_context(
            identifying(settings, store=store, reader=reader, people=people, clock=SystemClock())
        )
        auth_channel = await stack.enter_async_context(open_channel(mesh, settings.auth_target))
        validate_key = RemoteKeyValidator(auth_channel, Credentials(mesh, SERVICE))
        cells = CellExplainer(reports, reader, open_operations=projection.operations.open_of)
        explanations = ExplainServicer(cells, clock=SystemClock())
        names = [
            ANALYTICS_SERVICE,
            EXPLAIN_SERVICE,
            JOURNEY_SERVICE,
            PROJECTION_SERVICE,
            LINK_SERVICE,
            IDENTITY_SERVICE,
            OVERLAY_SERVICE,
        ]
        server = GrpcServer(mesh, service_names=names, validate_key=validate_key)
        server.add(lambda s: pb_grpc.add_AnalyticsServiceServicer_to_server(servicer, s))
        server.add(lambda s: explain_grpc.add_ExplainServiceServicer_to_server(explanations, s))
        server.add(lambda s: journey_grpc.add_JourneyServiceServicer_to_server(journeys, s))
        server.add(lambda s: projection_grpc.add_ProjectionServiceServicer_to_server(projection, s))
        server.add(lambda s: overlay_grpc.add_OverlayServiceServicer_to_server(overlays, s))
        server.add(lambda s: link_grpc.add_LinkServiceServicer_to_server(LinkServicer(links), s))
        server.add(lambda s: identity_grpc.add_IdentityServiceServicer_to_server(identity, s))
        await server.start(settings.listen)
        stack.push_async_callback(server.stop)
        # Watches never end by themselves: without this every drain would last its whole time.
        stack.callback(realtime.close)
        stack.callback(projection.operations.close)
        signal = await wait_for_signal()
        _log.info("leaving", signal=signal.name)


def open_admission(settings: AnalyticsSettings) -> Admission:
    """Return the bounds that all queries share: one place, and its memory, is kept free of organisations' own SQL."""
    share = settings.query_memory_bytes // settings.query_threads
    admission = Admission(Capacity(settings.query_threads, settings.query_memory_bytes, 1, share))
    report_admission(admission.running, admission.waiting)
    return admission


def _open_expiry(stack: AsyncExitStack, settings: AnalyticsSettings, store: ClickHouseReadingStore) -> Expiry:
    """Open what lets old events leave, between the pages of the feed."""
    clickhouse = connect(settings.dsn)
    stack.push_async_callback(clickhouse.close)
    return Expiry(
        ClickHouseExpiry(clickhouse),
        Retentions(ClickHouseProjection(clickhouse), default_days=settings.retention_days),
        clock=SystemClock(),
        writing=store.writing,
        tier_volume=settings.tier_volume,
        tier_after_days=settings.tier_after_days,
    )


async def _open_reader(
    stack: AsyncExitStack, settings: AnalyticsSettings, admission: Admission
) -> ClickHouseReadingReader:
    """Open what answers reports; an organisation leaves half of the places for the others."""
    weight = Weight(
        "report",
        settings.query_memory_bytes // settings.query_threads,
        running_per_organization=max(1, settings.query_threads // 2),
        waiting_per_organization=200,
        may_use_reserve=True,
    )
    return await stack.enter_async_context(
        ClickHouseReadingReader.open(
            settings.dsn, thread_count=settings.query_threads, admission=admission, weight=weight
        )
    )


async def _open_cache(stack: AsyncExitStack, settings: AnalyticsSettings) -> ResultCache:
    if settings.redis_url is None:
        return MemoryResultCache()
    return await stack.enter_async_context(RedisResultCache.open(settings.redis_url.get_secret_value()))


def _grouping_weight(settings: AnalyticsSettings) -> Weight:
    """Return what funnels and their like take: half of the memory, one of an organisation, none from the reserve."""
    return Weight("behavior", settings.query_memory_bytes // 2, running_per_organization=1, waiting_per_organization=20)


def _linking_weight(settings: AnalyticsSettings) -> Weight:
    """Return what a look-up of links takes: one share, two of an organisation, none from the reserve."""
    share = settings.query_memory_bytes // settings.query_threads
    return Weight("link", share, running_per_organization=2, waiting_per_organization=20)


async def _open_sql(
    stack: AsyncExitStack,
    settings: AnalyticsSettings,
    admission: Admission,
    *,
    watermark: Callable[[], datetime | None],
) -> SqlRunner:
    store = await stack.enter_async_context(
        ClickHouseStatements.open(
            settings.sql_dsn,
            thread_count=settings.query_threads,
            has_roles=settings.sql_clickhouse_dsn is not None,
        )
    )
    limits = QueryLimits(
        run_seconds=settings.sql_run_seconds,
        rows_to_read=settings.sql_rows_to_read,
        result_rows=settings.sql_result_rows,
    )
    weight = Weight(
        "sql",
        settings.query_memory_bytes // settings.query_threads,
        running_per_organization=max(1, (settings.query_threads - 1) // 2),
        waiting_per_organization=8,
    )
    schema = tenant_schema(settings.sql_dsn.database)
    return SqlRunner(store, admission, schema=schema, limits=limits, weight=weight, watermark=watermark)


async def _refresh(enricher: Enricher) -> None:
    """Look for other GeoIP files from time to time."""
    while True:
        await asyncio.sleep(_GEOIP_SECONDS)
        await asyncio.to_thread(enricher.refresh)


def _open_claims(stack: AsyncExitStack, dsn: Dsn) -> ClickHouseClaimStore:
    """Open the claims, which are first read when the tables are there."""
    clickhouse = connect(dsn)
    stack.push_async_callback(clickhouse.close)
    return ClickHouseClaimStore(clickhouse)


def _open_mappings(stack: AsyncExitStack, dsn: Dsn) -> ClickHouseMappingStore:
    """Open the mappings, which are first read when the tables are there."""
    clickhouse = connect(dsn)
    stack.push_async_callback(clickhouse.close)
    return ClickHouseMappingStore(clickhouse)


async def _open_store(
    stack: AsyncExitStack,
    dsn: Dsn,
    enricher: Enricher,
    in_force: MappingsInForce,
    claims: ClaimsInForce,
    hasher: EndHasher,
) -> ClickHouseReadingStore:
    """Wait for ClickHouse: a server that is not there yet, or a process that leaves the directory just now."""
    while True:
        try:
            opening = ClickHouseReadingStore.open(
                dsn,
                enricher=enricher,
                active_mappings=in_force.current,
                active_claims=claims.current,
                hasher=hasher,
            )
            return await stack.enter_async_context(opening)
        except UnavailableError as error:
            _log.warning("waiting for ClickHouse", error=repr(error))
            await asyncio.sleep(1.0)
