"""A mesh secret, settings and clients for a Warden that a test runs."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any

import grpc

from auth_svc.server import warden
from auth_svc.settings import AuthSettings
from auth_svc.store import WardenStore
from svc_runtime.clock import Clock, SystemClock
from svc_runtime.errors import TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.auth.v1 import auth_service_pb2 as pb
from trellis.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from trellis.auth.v1.partner_service_pb2_grpc import PartnerServiceStub

MESH = MeshSettings(mesh_secret="m" * 32, drain_seconds=5)
PEPPER = "p" * 32
_credentials = Credentials(MESH, "test")
SERVICE = _credentials.as_service()


def auth_settings(**changes: Any) -> AuthSettings:
    """Return settings of a Warden on a free port."""
    given = {"listen": "127.0.0.1:0", "postgres_dsn": "postgresql://unused", "key_pepper": PEPPER}
    return AuthSettings(**(given | changes))


def operator(organization_id: str = "") -> tuple[tuple[str, str], ...]:
    """Return the metadata of the operator, acting for an organisation."""
    return _credentials.as_caller(Caller(CallerKind.OPERATOR, "operator", organization_id))


def member(organization_id: str, *scopes: str, actor: str = "key:somebody") -> tuple[tuple[str, str], ...]:
    """Return the metadata of an organisation's key that a gateway has checked."""
    return _credentials.as_caller(Caller(CallerKind.ORGANIZATION, actor, organization_id, frozenset(scopes)))


async def refusal(call: Awaitable[object]) -> TrellisError:
    """Return the error that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error)
    raise AssertionError("the call was not refused")


@contextlib.asynccontextmanager
async def running_warden(
    store: WardenStore, clock: Clock | None = None, **settings: Any
) -> AsyncIterator["WardenClient"]:
    """Run a Warden on a store and connect to it."""
    async with (
        warden(MESH, auth_settings(**settings), store, clock or SystemClock()) as port,
        connected(port) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator["WardenClient"]:
    """Connect to a Warden, without retries: a test wants to see each failure."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield WardenClient(AuthServiceStub(channel), port, PartnerServiceStub(channel))


class WardenClient:
    """The stubs, and what most tests do first."""

    def __init__(self, stub: Any, port: int, partners: Any) -> None:
        self.stub = stub
        self.port = port
        self.partners = partners

    async def organization(self, name: str) -> str:
        """Create an organisation."""
        request = pb.CreateOrganizationRequest(organization_id=name, name=name)
        await self.stub.CreateOrganization(request, metadata=operator())
        return name

    async def key(
        self, organization_id: str, *, metadata: Any = None, scopes: Iterable[str] = (), **fields: Any
    ) -> pb.CreateKeyResponse:
        """Create a secret key as the operator, unless told otherwise."""
        given = {"name": "a key", "kind": pb.KEY_KIND_SECRET} | fields
        request = pb.CreateKeyRequest(scopes=scopes, **given)
        return await self.stub.CreateKey(request, metadata=metadata or operator(organization_id))

    async def validate(self, key: str) -> pb.ValidateKeyResponse:
        """Ask whose key it is."""
        return await self.stub.ValidateKey(pb.ValidateKeyRequest(key=key), metadata=SERVICE)

    def watch(self) -> Any:
        """Begin to watch."""
        return self.stub.WatchKeys(pb.WatchKeysRequest(watcher="test"), metadata=SERVICE)

    async def audit(self, organization_id: str) -> list[pb.AuditEntry]:
        """Return the audit log, newest first."""
        answer = await self.stub.ListAuditEntries(pb.ListAuditEntriesRequest(), metadata=operator(organization_id))
        return list(answer.entries)
