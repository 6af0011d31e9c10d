"""Puts together what keeps the reading and makes it again."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

import grpc

from analytics_svc.claims.claims import ClaimRegistry, ClaimsInForce, ClaimWork
from analytics_svc.claims.event_claims import EventOwners
from analytics_svc.claims.preview import ClaimPreviews
from analytics_svc.identity.decisions import Decisions
from analytics_svc.identity.end import EndHasher
from analytics_svc.identity.history import make_history
from analytics_svc.identity.people import People
from analytics_svc.identity.resolve import Resolver
from analytics_svc.mappings.mapping import Span
from analytics_svc.mappings.mappings import MappingChange, MappingRegistry, MappingsInForce
from analytics_svc.mappings.preview import ReadingPreviewer
from analytics_svc.operation import Kind, Operation
from analytics_svc.operations import Operations
from analytics_svc.projection.enricher import Enricher
from analytics_svc.raw import CaptureEvents
from analytics_svc.rebuild import Rederivation
from analytics_svc.retention import Retentions
from analytics_svc.servicer.identity import IdentityServicer
from analytics_svc.servicer.overlays import OverlayServicer
from analytics_svc.servicer.projection import ProjectionServicer
from analytics_svc.settings import AnalyticsSettings
from analytics_svc.store import ClaimStore, MappingStore, ReadingReader
from analytics_svc.store.claiming import ClickHouseClaimHistory, connect_claims
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.connect import connect
from analytics_svc.store.edges import ClickHouseEdges
from analytics_svc.store.identity import ClickHouseDecisionStore
from analytics_svc.store.making import open_makers
from analytics_svc.store.operations import ClickHouseOperationStore
from analytics_svc.store.projection import ClickHouseProjection
from analytics_svc.store.verdicts import ClickHouseVerdictStore
from analytics_svc.verdicts import Verdicts
from svc_runtime.clock import Clock
from svc_runtime.grpc_client import Credentials
from svc_runtime.paging import PageTokens
from svc_runtime.tasks import keep_running, running

_HISTORY_SECONDS = 3600.0


@contextlib.asynccontextmanager
async def projecting(
    settings: AnalyticsSettings,
    *,
    store: ClickHouseReadingStore,
    reader: ReadingReader,
    enricher: Enricher,
    mapping_store: MappingStore,
    in_force: MappingsInForce,
    claim_store: ClaimStore,
    claims_in_force: ClaimsInForce,
    capture_channel: grpc.aio.Channel,
    credentials: Credentials,
    page_tokens: PageTokens,
    clock: Clock,
    watermark: Callable[[], datetime | None],
    hasher: EndHasher | None = None,
) -> AsyncIterator[tuple[ProjectionServicer, OverlayServicer]]:
    """Do operations for the time of the block, those first that a process before left; gives the RPCs."""
    async with contextlib.AsyncExitStack() as stack:
        clickhouse = connect(settings.dsn)
        stack.push_async_callback(clickhouse.close)
        projection = ClickHouseProjection(clickhouse)
        retentions = Retentions(projection, default_days=settings.retention_days)

        async def cuts() -> Mapping[str, datetime]:
            return (await retentions.read()).cuts(clock.now())

        makers = await stack.enter_async_context(
            open_makers(settings.dsn, enricher, in_force.current, cuts, count=settings.rebuild_parallel, hasher=hasher)
        )
        operations = Operations(ClickHouseOperationStore(clickhouse), page_tokens, clock=clock)
        raw = CaptureEvents(capture_channel, credentials)
        engine = Rederivation(raw, makers, projection, operations, writing=store.writing)

        async def work(operation_id: str) -> None:
            operation = await operations.read(operation_id)
            if operation.kind is Kind.MAPPING and not operation.is_planned:
                # A process that was killed may have written down the operation, and not that its mapping holds.
                await in_force.activate(_change(operation), now=clock.now())
            await engine.run(operation_id)

        claim_clickhouse = connect_claims(settings.dsn)
        stack.push_async_callback(claim_clickhouse.close)
        claim_work = ClaimWork(
            claim_store,
            claims_in_force,
            ClickHouseClaimHistory(claim_clickhouse),
            projection,
            operations,
            writing=store.writing,
            clock=clock,
        )
        for name, does, kinds in (
            ("operations", work, (Kind.REBUILD, Kind.MAPPING)),
            ("claims", claim_work.run, (Kind.CLAIM,)),
        ):
            lane = keep_running(name, functools.partial(operations.run, does, kinds))
            await stack.enter_async_context(running(name, lane))
        overlays = OverlayServicer(
            ClaimRegistry(claim_store, operations, clock=clock),
            ClaimPreviews(reader, claims_in_force.current, watermark=watermark),
            EventOwners(reader),
            Verdicts(ClickHouseVerdictStore(claim_clickhouse), writing=store.writing),
        )
        projecting_servicer = ProjectionServicer(
            operations,
            projection,
            retentions,
            mappings=MappingRegistry(
                mapping_store, in_force, ReadingPreviewer(reader, enricher), operations, page_tokens, clock=clock
            ),
            watermark=watermark,
        )
        yield projecting_servicer, overlays


@contextlib.asynccontextmanager
async def identifying(
    settings: AnalyticsSettings, *, store: ClickHouseReadingStore, reader: ReadingReader, people: People, clock: Clock
) -> AsyncIterator[IdentityServicer]:
    """Make the edges of what was there before they were kept, for the time of the block; gives the RPCs."""
    async with contextlib.AsyncExitStack() as stack:
        clickhouse = connect(settings.dsn)
        stack.push_async_callback(clickhouse.close)
        edges = ClickHouseEdges(clickhouse, people.hasher)

        async def work() -> None:
            await make_history(edges, writing=store.writing)
            await asyncio.sleep(_HISTORY_SECONDS)

        await stack.enter_async_context(running("edges of history", keep_running("edges of history", work)))
        decisions = Decisions(people, ClickHouseDecisionStore(clickhouse), clock=clock)
        yield IdentityServicer(people, decisions, Resolver(reader, people))


def _change(operation: Operation) -> MappingChange:
    return MappingChange(
        organization_id=operation.organization_id,
        mapping_id=operation.mapping_id,
        version=operation.mapping_version,
        actor=operation.actor,
        span=Span(operation.span_start, operation.span_end),
    )
