"""ProjectionService of analytics_svc, as the operator calls it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc
import typer
from pydantic import SecretStr

from svc_runtime.errors import Code
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2_grpc
from trellisctl.errors import CommandError
from trellisctl.installation import read_installation

_T = TypeVar("_T")
_CALL_SECONDS = 15.0

AnalyticsTargetOption = Annotated[
    str | None,
    typer.Option(
        "--analytics-target",
        help="Where analytics_svc listens; else TRELLIS_ANALYTICS_TARGET or the data directory says.",
    ),
]


class ProjectionOperator:
    """ProjectionService as the operator calls it."""

    def __init__(self, data_dir: Path | None, analytics_target: str | None) -> None:
        installation = read_installation(data_dir)
        self._mesh = MeshSettings(mesh_secret=SecretStr(installation.mesh_secret))
        self._target = analytics_target or installation.analytics_target
        self._credentials = Credentials(self._mesh, "trellisctl")

    async def connected(self, talk: Callable[["ProjectionCalls"], Awaitable[_T]]) -> _T:
        """Return what ``talk`` returns; raise CommandError or what analytics_svc raises."""
        async with open_channel(self._mesh, self._target) as channel:
            try:
                return await talk(
                    ProjectionCalls(projection_service_pb2_grpc.ProjectionServiceStub(channel), self._credentials)
                )
            except grpc.aio.AioRpcError as rpc_error:
                error = error_from_rpc(rpc_error)
                if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise CommandError(f"analytics_svc at {self._target}: {error}") from None
                raise error from None


class ProjectionCalls:
    """One connection's calls."""

    def __init__(self, stub: Any, credentials: Credentials) -> None:
        self._stub = stub
        self._credentials = credentials

    async def one(self, method: str, request: Any) -> Any:
        """Call a method that answers once."""
        return await getattr(self._stub, method)(request, metadata=self._metadata(), timeout=_CALL_SECONDS)

    def watch(self, operation_id: str) -> Any:
        """Watch an operation."""
        return self._stub.WatchRebuild(pb.WatchRebuildRequest(operation_id=operation_id), metadata=self._metadata())

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        # Made anew for every call: a token does not live as long as a rebuild.
        return self._credentials.as_caller(Caller(CallerKind.OPERATOR, "operator"))
