"""analytics_svc's OverlayService for the gateway's tests: what it knows of claims on events."""

from svc_runtime.errors import NotFoundError
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import Misbehaviour, stamp
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import overlay_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import projection_service_pb2 as projection_pb


class FakeOverlay(pb_grpc.OverlayServiceServicer):
    """Knows claims on the events that a test names."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.claimed: dict[tuple[str, str], str] = {}
        """Campaign by organisation and event."""
        self.operations: dict[tuple[str, str], str] = {}
        """Campaign by organisation and operation."""

    async def GetEventClaims(
        self, request: pb.GetEventClaimsRequest, context: ServicerContext
    ) -> pb.GetEventClaimsResponse:
        campaign_id = self.claimed.get((await self.does.step_in(context), request.event_id))
        if campaign_id is None:
            raise NotFoundError("no such event")
        claim = pb.EventClaim(
            campaign_id=campaign_id, version=2, rule_id="r1", priority=5, claim_time=stamp(), is_active=True
        )
        return pb.GetEventClaimsResponse(campaign_id=campaign_id, rule_id="r1", claims=[claim])

    async def CancelClaim(self, request: pb.CancelClaimRequest, context: ServicerContext) -> pb.CancelClaimResponse:
        campaign_id = self.operations.get((await self.does.step_in(context), request.operation_id))
        if campaign_id is None:
            raise NotFoundError(f"no operation {request.operation_id!r}")
        operation = projection_pb.Operation(
            operation_id=request.operation_id,
            kind="claim",
            state=projection_pb.OPERATION_STATE_RUNNING,
            campaign_id=campaign_id,
            claim_version=1,
            create_time=stamp(),
        )
        return pb.CancelClaimResponse(operation=operation)
