"""ConversionService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
from attribution_svc.conversion.conversions import Conversions
from attribution_svc.conversion.convert import conversion_to_pb, events_to_pb, wanted_from_pb
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import conversion_service_pb2 as pb
from trellis.attribution.v1 import conversion_service_pb2_grpc as pb_grpc


class ConversionServicer(pb_grpc.ConversionServiceServicer):
    """Conversions of the caller's organisation."""

    def __init__(self, conversions: Conversions) -> None:
        self._conversions = conversions

    async def GetConversion(
        self, request: pb.GetConversionRequest, context: ServicerContext
    ) -> pb.GetConversionResponse:
        """Return a conversion and its events."""
        kept, events = await self._conversions.get(
            request.conversion_id, organization_id=current_caller().organization_id
        )
        return pb.GetConversionResponse(conversion=conversion_to_pb(kept), events=events_to_pb(events))

    async def ListConversions(
        self, request: pb.ListConversionsRequest, context: ServicerContext
    ) -> pb.ListConversionsResponse:
        """Return a page of conversions."""
        page = await self._conversions.list_page(
            wanted_from_pb(request),
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListConversionsResponse(
            conversions=map(conversion_to_pb, page.conversions), next_page_token=page.next_page_token
        )
