"""analytics_svc's OverlayService in memory: it keeps which version of a campaign's claim holds, and every call."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from svc_runtime.errors import NotFoundError, TrellisError
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import overlay_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import projection_service_pb2 as projection_pb


class FakeOverlays(pb_grpc.OverlayServiceServicer):
    """Takes every claim, unless told to fail."""

    def __init__(self) -> None:
        self.failure: TrellisError | None = None
        self.when_asked: Callable[[], Awaitable[None]] | None = None
        """Runs before an apply is kept; ``when_kept`` before it is answered."""
        self.when_kept: Callable[[], Awaitable[None]] | None = None
        self.calls: list[str] = []
        """Those that were taken: `apply c 1`, `activate c 0`."""
        self.callers: list[str] = []
        self.previewed: list[pb.Claim] = []
        self.applied: dict[tuple[str, str, int], pb.Claim] = {}
        self.made: dict[tuple[str, str, int], datetime] = {}
        self.holding: dict[tuple[str, str], int] = {}

    def claim(self, campaign_id: str, version: int, organization_id: str = "org_a") -> pb.Claim:
        """Return a claim that was applied."""
        return self.applied[organization_id, campaign_id, version]

    async def PreviewClaim(self, request: pb.PreviewClaimRequest, context: ServicerContext) -> pb.PreviewClaimResponse:
        """Say that it would change nothing."""
        self._step_in()
        self.previewed.append(request.claim)
        return pb.PreviewClaimResponse(event_count=7, click_count=5)

    async def ApplyClaim(self, request: pb.ApplyClaimRequest, context: ServicerContext) -> pb.ApplyClaimResponse:
        """Let it hold; again is nothing new."""
        organization_id = self._step_in()
        if self.when_asked is not None:
            await self.when_asked()
        claim = request.claim
        key = (organization_id, claim.campaign_id, claim.version)
        if key not in self.applied:
            self.applied[key] = claim
            self.made[key] = datetime.now(UTC)
            self.holding[key[:2]] = claim.version
        self.calls.append(f"apply {claim.campaign_id} {claim.version}")
        if self.when_kept is not None:
            await self.when_kept()
        operation = _operation(*key)
        operation.create_time.FromDatetime(self.made[key])
        return pb.ApplyClaimResponse(operation=operation)

    async def ActivateClaim(
        self, request: pb.ActivateClaimRequest, context: ServicerContext
    ) -> pb.ActivateClaimResponse:
        """Let an applied one hold."""
        organization_id = self._step_in()
        key = (organization_id, request.campaign_id, request.version)
        if (request.version and key not in self.applied) or not any(known[:2] == key[:2] for known in self.applied):
            raise NotFoundError("no such claim")
        self.holding[key[:2]] = request.version
        self.calls.append(f"activate {request.campaign_id} {request.version}")
        return pb.ActivateClaimResponse(operation=_operation(*key))

    def _step_in(self) -> str:
        if self.failure is not None:
            raise self.failure
        caller = current_caller()
        self.callers.append(caller.actor)
        return caller.organization_id


def _operation(organization_id: str, campaign_id: str, version: int) -> projection_pb.Operation:
    return projection_pb.Operation(operation_id=f"op_{organization_id}_{campaign_id}_{version}", kind="claim")


@contextlib.asynccontextmanager
async def serving(overlays: FakeOverlays, mesh: MeshSettings, *, listen: str = "127.0.0.1:0") -> AsyncIterator[int]:
    """Serve it for the time of the block; gives the port."""
    server = GrpcServer(mesh, service_names=[])
    server.add(lambda s: pb_grpc.add_OverlayServiceServicer_to_server(overlays, s))
    port = await server.start(listen)
    try:
        yield port
    finally:
        await server.stop()
