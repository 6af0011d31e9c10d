"""What organisations say about their parameters."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

from analytics_svc.convert.mappings import mapping_to_pb, preview_to_pb, wanted_from_pb
from analytics_svc.convert.operations import operation_to_pb
from analytics_svc.mappings.mappings import MappingRegistry
from analytics_svc.operation import Operation
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import projection_service_pb2 as pb


class MappingMethods:
    """The RPCs of mappings."""

    mappings: MappingRegistry[Operation]

    async def ListMappings(self, request: pb.ListMappingsRequest, context: ServicerContext) -> pb.ListMappingsResponse:
        """List the caller's mappings; see the contract."""
        page = await self.mappings.list_page(
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListMappingsResponse(mappings=map(mapping_to_pb, page.mappings), next_page_token=page.next_page_token)

    async def GetMapping(self, request: pb.GetMappingRequest, context: ServicerContext) -> pb.GetMappingResponse:
        """Return a mapping's versions; see the contract."""
        versions = await self.mappings.get(request.mapping_id, organization_id=current_caller().organization_id)
        return pb.GetMappingResponse(versions=map(mapping_to_pb, versions))

    async def PreviewMapping(
        self, request: pb.PreviewMappingRequest, context: ServicerContext
    ) -> pb.PreviewMappingResponse:
        """Say what a mapping would change; see the contract."""
        preview = await self.mappings.preview(
            wanted_from_pb(request.mapping), organization_id=current_caller().organization_id
        )
        return preview_to_pb(preview)

    async def ApplyMapping(self, request: pb.ApplyMappingRequest, context: ServicerContext) -> pb.ApplyMappingResponse:
        """Make a mapping, or a version of one, and apply it; see the contract."""
        caller = current_caller()
        version, operation = await self.mappings.apply(
            wanted_from_pb(request.mapping), organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.ApplyMappingResponse(mapping=mapping_to_pb(version), operation=operation_to_pb(operation))

    async def ActivateMappingVersion(
        self, request: pb.ActivateMappingVersionRequest, context: ServicerContext
    ) -> pb.ActivateMappingVersionResponse:
        """Let a version hold; see the contract."""
        caller = current_caller()
        operation = await self.mappings.activate(
            request.mapping_id, request.version, organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.ActivateMappingVersionResponse(operation=operation_to_pb(operation))
