"""The reading and the operations that make it again."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from analytics_svc.convert.operations import operation_to_pb
from analytics_svc.mappings.mappings import MappingRegistry
from analytics_svc.operation import Operation
from analytics_svc.operations import Operations
from analytics_svc.retention import LONGEST_DAYS, Retentions
from analytics_svc.servicer.mappings import MappingMethods
from analytics_svc.store import ReadingFacts
from enrichment.version import ENRICHMENT_VERSION
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2_grpc as pb_grpc


class ProjectionServicer(MappingMethods, pb_grpc.ProjectionServiceServicer):
    """Every RPC of ProjectionService."""

    def __init__(
        self,
        operations: Operations,
        facts: ReadingFacts,
        retentions: Retentions,
        *,
        mappings: MappingRegistry[Operation],
        watermark: Callable[[], datetime | None],
    ) -> None:
        self.operations = operations
        self.mappings = mappings
        self._facts = facts
        self._retentions = retentions
        self._watermark = watermark

    async def GetProjection(
        self, request: pb.GetProjectionRequest, context: ServicerContext
    ) -> pb.GetProjectionResponse:
        """Say how far the reading is; see the contract."""
        counts = await self._facts.counts_by_enrichment_version()
        answer = pb.GetProjectionResponse(
            event_count=sum(counts.values()),
            enrichment_version=ENRICHMENT_VERSION,
            events_by_enrichment_version=counts,
            running_operation_id=await self.operations.running_id(),
        )
        if (watermark := self._watermark()) is not None:
            answer.watermark_time.CopyFrom(timestamp_of(watermark))
        return answer

    async def StartRebuild(self, request: pb.StartRebuildRequest, context: ServicerContext) -> pb.StartRebuildResponse:
        """Begin a rebuild; see the contract."""
        operation = await self.operations.start_rebuild(request.organization_id, actor=current_caller().actor)
        return pb.StartRebuildResponse(operation=operation_to_pb(operation))

    async def WatchRebuild(
        self, request: pb.WatchRebuildRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchRebuildResponse]:
        """Tell of a rebuild as it goes; see the contract."""
        async for operation in self.operations.watch(request.operation_id):
            yield pb.WatchRebuildResponse(operation=operation_to_pb(operation))

    async def CancelRebuild(
        self, request: pb.CancelRebuildRequest, context: ServicerContext
    ) -> pb.CancelRebuildResponse:
        """Stop a rebuild after its month; see the contract."""
        if not request.operation_id:
            raise InvalidArgumentError.of([Violation("operation_id", "is empty: which one?")])
        return pb.CancelRebuildResponse(operation=operation_to_pb(await self.operations.cancel(request.operation_id)))

    async def GetOperation(self, request: pb.GetOperationRequest, context: ServicerContext) -> pb.GetOperationResponse:
        """Return an operation of the caller; see the contract."""
        found = await self.operations.get(request.operation_id, organization_id=current_caller().organization_id)
        return pb.GetOperationResponse(operation=operation_to_pb(found))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: ServicerContext
    ) -> pb.ListOperationsResponse:
        """List the caller's operations; see the contract."""
        page = await self.operations.list_page(
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListOperationsResponse(
            operations=map(operation_to_pb, page.operations), next_page_token=page.next_page_token
        )

    async def SetRetention(self, request: pb.SetRetentionRequest, context: ServicerContext) -> pb.SetRetentionResponse:
        """Set how long events are kept; see the contract."""
        if request.days > LONGEST_DAYS:
            raise InvalidArgumentError.of([Violation("days", f"is {request.days}, must be 1 to {LONGEST_DAYS}, or 0")])
        return pb.SetRetentionResponse(days=await self._retentions.set(request.organization_id, request.days))
