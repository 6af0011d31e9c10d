"""OverlayService over a real reading, as the process puts it together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from pydantic import SecretStr

from analytics_svc.assembly import projecting
from analytics_svc.cache import Results
from analytics_svc.claims.claims import ClaimsInForce
from analytics_svc.mappings.mappings import MappingsInForce
from analytics_svc.projection.enricher import Enricher
from analytics_svc.reports import Reports
from analytics_svc.settings import AnalyticsSettings
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.claims import ClickHouseClaimStore
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.connect import open_client
from analytics_svc.store.mappings import ClickHouseMappingStore
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn, parse_dsn
from svc_runtime.clock import SystemClock
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from tests.contract.analytics.fake_capture import MESH
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import overlay_service_pb2_grpc as overlay_grpc
from trellis.analytics.v1 import projection_service_pb2 as projection_pb
from trellis.analytics.v1 import projection_service_pb2_grpc as projection_grpc
from trellis.type.v1 import predicate_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_credentials = Credentials(MESH, "attribution_svc")
SERVICE = _credentials.as_service()
_SCOPES = frozenset({"analytics:read", "analytics:write", "campaigns:read", "campaigns:write"})


def caller(organization_id: str, scopes: frozenset[str] = _SCOPES) -> tuple[tuple[str, str], ...]:
    """Return the metadata of an organisation's key."""
    return _credentials.as_caller(Caller(CallerKind.ORGANIZATION, "key:k", organization_id, scopes))


@dataclass
class Service:
    """The RPCs, and the engine behind them."""

    dsn: Dsn
    store: ClickHouseReadingStore
    overlays: Any
    projection: Any
    client: "Client"
    reports: Reports

    async def over(self, operation: projection_pb.Operation, organization_id: str) -> projection_pb.Operation:
        """Wait until an operation is over; return it."""
        async with asyncio.timeout(60):
            while True:
                request = projection_pb.GetOperationRequest(operation_id=operation.operation_id)
                found = (await self.projection.GetOperation(request, metadata=caller(organization_id))).operation
                if found.state != projection_pb.OPERATION_STATE_RUNNING:
                    return found  # type: ignore[no-any-return]  # the stub is untyped here
                await asyncio.sleep(0.01)

    async def apply(self, claim: pb.Claim, organization_id: str) -> projection_pb.Operation:
        """Apply a claim, to the end."""
        request = pb.ApplyClaimRequest(claim=claim)
        answer = await self.overlays.ApplyClaim(request, metadata=caller(organization_id))
        return await self.over(answer.operation, organization_id)

    async def activate(self, campaign_id: str, version: int, organization_id: str) -> projection_pb.Operation:
        """Let a version hold, to the end."""
        request = pb.ActivateClaimRequest(campaign_id=campaign_id, version=version)
        answer = await self.overlays.ActivateClaim(request, metadata=caller(organization_id))
        return await self.over(answer.operation, organization_id)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Ask the reading."""
        rows: Sequence[Sequence[Any]] = self.client.query(sql, parameters=dict(parameters or {})).result_rows
        return rows

    def counts(self, organization_id: str) -> dict[str, int]:
        """Return how many events each campaign has."""
        rows = self.query(
            "SELECT toString(campaign_id), count() FROM events WHERE organization_id = {o:String} GROUP BY campaign_id",
            {"o": organization_id},
        )
        return dict(map(tuple, rows))


@contextlib.asynccontextmanager
async def service(directory: Path) -> AsyncIterator[Service]:
    """Serve a reading in a directory for the time of the block."""
    url = f"chdb://{directory}?database=analytics"
    dsn = parse_dsn(url, default_database="analytics")
    async with contextlib.AsyncExitStack() as stack:
        claim_store = await stack.enter_async_context(ClickHouseClaimStore.open(dsn))
        in_force = ClaimsInForce(claim_store)
        mapping_store = await stack.enter_async_context(ClickHouseMappingStore.open(dsn))
        store = await stack.enter_async_context(
            ClickHouseReadingStore.open(dsn, enricher=Enricher(), active_claims=in_force.current)
        )
        reader = await stack.enter_async_context(ClickHouseReadingReader.open(dsn, thread_count=2))
        projection, overlays = await stack.enter_async_context(
            projecting(
                AnalyticsSettings(clickhouse_dsn=SecretStr(url)),
                store=store,
                reader=reader,
                enricher=Enricher(),
                mapping_store=mapping_store,
                in_force=MappingsInForce(mapping_store),
                claim_store=claim_store,
                claims_in_force=in_force,
                capture_channel=await stack.enter_async_context(open_channel(MESH, "127.0.0.1:1")),
                credentials=_credentials,
                page_tokens=PageTokens("m" * 32, "t"),
                clock=SystemClock(),
                watermark=lambda: None,
            )
        )
        server = GrpcServer(MESH, service_names=[])
        server.add(lambda s: overlay_grpc.add_OverlayServiceServicer_to_server(overlays, s))
        server.add(lambda s: projection_grpc.add_ProjectionServiceServicer_to_server(projection, s))
        port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        client = open_client(dsn)
        stack.callback(client.close)
        yield Service(
            dsn,
            store,
            overlay_grpc.OverlayServiceStub(channel),
            projection_grpc.ProjectionServiceStub(channel),
            client,
            Reports(reader, Results(MemoryResultCache()), watermark=lambda: None, clock=SystemClock()),
        )


def rule(rule_id: str, field: str, *values: str, tags: Sequence[str] = (), negated: bool = False) -> pb.ClaimRule:
    """Return a rule that asks for one of these values."""
    operator = predicate_pb2.OPERATOR_NOT_IN if negated else predicate_pb2.OPERATOR_IN
    condition = predicate_pb2.Condition(field=field, operator=operator, values=values)
    return pb.ClaimRule(rule_id=rule_id, predicate=predicate_pb2.Predicate(condition=condition), tags=tags)
