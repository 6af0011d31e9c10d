"""Links between events and clicks, for services that keep conversions."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

from analytics_svc.convert.links import found_to_pb, keys_from_pb, references_from_pb, touches_to_pb
from analytics_svc.linking.questions import LinkQuestions
from svc_runtime.interceptors import ServicerContext
from trellis.analytics.v1 import link_service_pb2 as pb
from trellis.analytics.v1 import link_service_pb2_grpc as pb_grpc


class LinkServicer(pb_grpc.LinkServiceServicer):
    """Every RPC of LinkService."""

    def __init__(self, links: LinkQuestions) -> None:
        self._links = links

    async def GetTouches(self, request: pb.GetTouchesRequest, context: ServicerContext) -> pb.GetTouchesResponse:
        """Say of events what the reading has of them; see the contract."""
        keys = keys_from_pb(request)
        return touches_to_pb(keys, await self._links.touches(keys))

    async def FindClicks(self, request: pb.FindClicksRequest, context: ServicerContext) -> pb.FindClicksResponse:
        """Find the clicks that references may mean; see the contract."""
        return found_to_pb(await self._links.find(references_from_pb(request)))
