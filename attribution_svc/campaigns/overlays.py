"""What attribution_svc asks of analytics_svc's OverlayService: claims over history, previewed, made and taken back."""

from collections.abc import Sequence
from datetime import UTC
from typing import TypeVar

import grpc

from attribution_svc.campaigns.campaign import Campaign
from attribution_svc.campaigns.convert_claims import overlay_claim_to_pb
from attribution_svc.campaigns.retroactive import Work
from svc_runtime.errors import Code, NotFoundError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller
from svc_runtime.rpc_status import error_from_rpc
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import overlay_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import projection_service_pb2 as projection_pb

_SECONDS = 20.0
_PREVIEW_SECONDS = 60.0
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class RemoteOverlays:
    """``Overlays`` of analytics_svc, asked for in the name of a caller."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub: pb_grpc.OverlayServiceAsyncStub = pb_grpc.OverlayServiceStub(channel)
        self._credentials = credentials

    async def preview(self, caller: Caller, campaign: Campaign, yielding: Sequence[str]) -> pb.PreviewClaimResponse:
        """Say what a campaign's claim would change. The answer is passed on as it is."""
        request = pb.PreviewClaimRequest(claim=overlay_claim_to_pb(campaign, yielding))
        return await self._ask(self._stub.PreviewClaim, request, caller, _PREVIEW_SECONDS)

    async def apply(self, caller: Caller, campaign: Campaign, yielding: Sequence[str]) -> Work:
        """See ``Overlays.apply``."""
        request = pb.ApplyClaimRequest(claim=overlay_claim_to_pb(campaign, yielding))
        answer = await self._ask(self._stub.ApplyClaim, request, caller, _SECONDS)
        return _work(answer.operation)

    async def activate(self, caller: Caller, campaign_id: str, version: int) -> Work:
        """See ``Overlays.activate``."""
        request = pb.ActivateClaimRequest(campaign_id=campaign_id, version=version)
        answer = await self._ask(self._stub.ActivateClaim, request, caller, _SECONDS)
        return _work(answer.operation)

    async def _ask(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        caller: Caller,
        seconds: float,
    ) -> ResponseT:
        try:
            return await method(request, metadata=self._credentials.as_caller(caller), timeout=seconds)
        except grpc.aio.AioRpcError as rpc_error:
            error = error_from_rpc(rpc_error)
            if error.code is Code.NOT_FOUND:
                raise NotFoundError(error.message) from None
            raise error from None


def _work(operation: projection_pb.Operation) -> Work:
    has_time = operation.HasField("create_time")
    return Work(operation.operation_id, operation.create_time.ToDatetime(UTC) if has_time else None)
