"""Overlays: claims of campaigns on traffic that they did not route, and verdicts on conversions."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

from uuid import UUID

from analytics_svc.claims.claims import ClaimRegistry, WantedClaim
from analytics_svc.claims.event_claims import EventOwners
from analytics_svc.claims.preview import ClaimPreviews
from analytics_svc.convert.claim_answers import owner_to_pb, preview_to_pb
from analytics_svc.convert.claims import activation_from_pb, claim_from_pb
from analytics_svc.convert.operations import operation_to_pb
from analytics_svc.convert.verdicts import verdicts_from_pb
from analytics_svc.verdicts import Verdicts
from svc_runtime.errors import NotFoundError
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import overlay_service_pb2_grpc as pb_grpc


class OverlayServicer(pb_grpc.OverlayServiceServicer):
    """Every RPC of OverlayService."""

    def __init__(self, claims: ClaimRegistry, previews: ClaimPreviews, owners: EventOwners, verdicts: Verdicts) -> None:
        self._claims = claims
        self._previews = previews
        self._owners = owners
        self._verdicts = verdicts

    async def PreviewClaim(self, request: pb.PreviewClaimRequest, context: ServicerContext) -> pb.PreviewClaimResponse:
        """Say what a claim would change; see the contract."""
        claim = claim_from_pb(request.claim, needs_version=False)
        preview = await self._previews.preview(claim, organization_id=current_caller().organization_id)
        return preview_to_pb(preview)

    async def GetEventClaims(
        self, request: pb.GetEventClaimsRequest, context: ServicerContext
    ) -> pb.GetEventClaimsResponse:
        """Tell whose an event is, and was; see the contract."""
        try:
            event_id = UUID(request.event_id)
        except ValueError:
            raise NotFoundError(f"no event {request.event_id[:64]!r}") from None
        return owner_to_pb(await self._owners.owner(event_id, organization_id=current_caller().organization_id))

    async def ApplyClaim(self, request: pb.ApplyClaimRequest, context: ServicerContext) -> pb.ApplyClaimResponse:
        """Make a claim and apply it; see the contract."""
        caller = current_caller()
        wanted = WantedClaim(claim_from_pb(request.claim), request.claim.SerializeToString(deterministic=True))
        operation = await self._claims.apply(wanted, organization_id=caller.organization_id, actor=caller.actor)
        return pb.ApplyClaimResponse(operation=operation_to_pb(operation))

    async def ActivateClaim(
        self, request: pb.ActivateClaimRequest, context: ServicerContext
    ) -> pb.ActivateClaimResponse:
        """Let a version of a claim hold; see the contract."""
        caller = current_caller()
        operation = await self._claims.activate(
            activation_from_pb(request), request.version, organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.ActivateClaimResponse(operation=operation_to_pb(operation))

    async def CancelClaim(self, request: pb.CancelClaimRequest, context: ServicerContext) -> pb.CancelClaimResponse:
        """Stop the operation of a claim; see the contract."""
        operation = await self._claims.cancel(request.operation_id, organization_id=current_caller().organization_id)
        return pb.CancelClaimResponse(operation=operation_to_pb(operation))

    async def PutVerdicts(self, request: pb.PutVerdictsRequest, context: ServicerContext) -> pb.PutVerdictsResponse:
        """Say what events count for; see the contract."""
        verdicts = verdicts_from_pb(request.verdicts)
        return pb.PutVerdictsResponse(changed_count=await self._verdicts.put(verdicts))
