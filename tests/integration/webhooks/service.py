"""WebhookService over PostgreSQL, with its planner and its dispatcher, on a real port."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from pydantic import SecretStr

from attribution_svc.settings import AttributionSettings
from attribution_svc.webhooks.assembly import running_webhooks
from attribution_svc.webhooks.change import Change, Click, Touch
from attribution_svc.webhooks.planner import Clicks
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from svc_runtime.postgres import Database
from svc_runtime.settings import MeshSettings
from trellis.attribution.v1 import webhook_service_pb2 as pb
from trellis.attribution.v1 import webhook_service_pb2_grpc as pb_grpc

MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=2)
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
BOTH = ("webhooks:read", "webhooks:write")
_CREDENTIALS = Credentials(MESH, "test")


def caller_of(organization_id: str = "org_a", *scopes: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call for an organisation; with both scopes when none is given."""
    return _CREDENTIALS.as_caller(Caller(CallerKind.ORGANIZATION, "key:1", organization_id, frozenset(scopes or BOTH)))


@dataclass
class KnownClicks:
    """Knows the clicks that a test says."""

    clicks: dict[Touch, Click] = field(default_factory=dict)
    asked: list[Change] = field(default_factory=list)
    is_down: bool = False

    async def of(self, changes: Sequence[Change]) -> Mapping[Touch, Click]:
        """See ``Clicks.of``."""
        if self.is_down and changes:
            raise UnavailableError("capture_svc is away")
        self.asked += changes
        return self.clicks


@dataclass
class Service:
    """A running one, and how org_a calls it."""

    stub: "pb_grpc.WebhookServiceAsyncStub"

    async def create(self, url: str, *, kind: int = pb.WEBHOOK_KIND_WEBHOOK, **definition: Any) -> Any:
        """Make a webhook; return the answer."""
        request = pb.CreateWebhookRequest(
            kind=kind,  # type: ignore[arg-type]  # a number of the enum
            definition=pb.WebhookDefinition(url=url, **definition),
        )
        return await self.stub.CreateWebhook(request, metadata=caller_of())

    async def deliveries(self, webhook_id: str, **wanted: Any) -> list[pb.Delivery]:
        """List what it was told, newest first."""
        request = pb.ListDeliveriesRequest(webhook_id=webhook_id, **wanted)
        return list((await self.stub.ListDeliveries(request, metadata=caller_of())).deliveries)

    async def delivery(self, webhook_id: str, delivery_id: str) -> pb.Delivery:
        """Return one with its attempts."""
        request = pb.GetDeliveryRequest(webhook_id=webhook_id, delivery_id=delivery_id)
        return (await self.stub.GetDelivery(request, metadata=caller_of())).delivery

    async def until(self, webhook_id: str, is_right: Callable[[list[pb.Delivery]], bool]) -> list[pb.Delivery]:
        """Wait until the deliveries of a webhook are as they should be."""
        async with asyncio.timeout(30):
            while not is_right(found := await self.deliveries(webhook_id)):  # noqa: ASYNC110 - the queue tells nobody
                await asyncio.sleep(0.05)
        return found


@contextlib.asynccontextmanager
async def running_service(
    dsn: str, database: Database, *, ports: tuple[int, ...], clicks: Clicks | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """Serve for the time of the block; webhooks may go to these ports of this machine."""
    own = {"webhook_allowed_networks": LOOPBACK, "webhook_allowed_ports": ports, **settings}
    async with contextlib.AsyncExitStack() as stack:
        servicer = await stack.enter_async_context(
            running_webhooks(
                MESH,
                AttributionSettings(postgres_dsn=SecretStr(dsn), **own),
                database,
                clicks or KnownClicks(),
                PageTokens("m" * 32, "attribution_svc"),
            )
        )
        server = GrpcServer(MESH, service_names=[])
        server.add(lambda s: pb_grpc.add_WebhookServiceServicer_to_server(servicer, s))
        port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        stub: pb_grpc.WebhookServiceAsyncStub = pb_grpc.WebhookServiceStub(channel)
        yield Service(stub)
