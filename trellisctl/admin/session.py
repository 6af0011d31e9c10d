"""Talks to Warden as the operator of an installation."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import grpc
import typer
from pydantic import SecretStr

from svc_runtime.errors import Code
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.auth.v1 import auth_service_pb2 as pb
from trellis.auth.v1 import auth_service_pb2_grpc, partner_service_pb2_grpc
from trellisctl.errors import CommandError
from trellisctl.installation import read_installation

T = TypeVar("T")
TIMEOUT_SECONDS = 15.0
PAGE_SIZE = 1000

OrganizationOption: TypeAlias = Annotated[str, typer.Option("--org", help="Id of the organisation.")]
DataDirOption: TypeAlias = Annotated[Path | None, typer.Option("--data-dir", help="Data directory of `trellis up`.")]
AuthTargetOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--auth-target", help="Where auth_svc listens; else TRELLIS_AUTH_TARGET or the data directory says."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


class Warden:
    """AuthService and PartnerService as the operator calls them."""

    def __init__(self, channel: grpc.aio.Channel, target: str, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stubs: tuple[Any, ...] = (
            auth_service_pb2_grpc.AuthServiceStub(channel),
            partner_service_pb2_grpc.PartnerServiceStub(channel),
        )
        self._target = target
        self._metadata = metadata

    async def call(self, method: str, request: Any) -> Any:
        """Call one RPC. Raise the TrellisError that Warden raised, or CommandError when it does not answer."""
        try:
            stub = next(stub for stub in self._stubs if hasattr(stub, method))
            return await getattr(stub, method)(request, metadata=self._metadata, timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as rpc_error:
            error = error_from_rpc(rpc_error)
            if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                raise CommandError(f"auth_svc at {self._target}: {error}") from None
            raise error from None

    async def list_all(self, method: str, request: Any, field: str, *, limit: int | None = None) -> list[Any]:
        """Follow the pages of a list to its end, or to ``limit`` items. ``field`` names the list in the answer."""
        found: list[Any] = []
        while limit is None or len(found) < limit:
            request.page_size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
            page = await self.call(method, request)
            found += getattr(page, field)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def check_organization(self, organization_id: str) -> None:
        """Raise NOT_FOUND for an organisation that does not exist: its lists would only be empty."""
        await self.call("GetOrganization", pb.GetOrganizationRequest(organization_id=organization_id))


def run(
    talk: Callable[[Warden], Awaitable[T]],
    *,
    data_dir: Path | None,
    auth_target: str | None,
    organization_id: str = "",
) -> T:
    """Connect as the operator, acting for an organisation where one is named, and return what ``talk`` returns.

    Raise CommandError where there is no installation, and what Warden raises.
    """
    installation = read_installation(data_dir)
    mesh = MeshSettings(mesh_secret=SecretStr(installation.mesh_secret))
    target = auth_target or installation.auth_target
    caller = Caller(CallerKind.OPERATOR, "operator", organization_id)

    async def connected() -> T:
        async with open_channel(mesh, target) as channel:
            return await talk(Warden(channel, target, Credentials(mesh, "trellisctl").as_caller(caller)))

    return asyncio.run(connected())
