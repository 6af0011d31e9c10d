"""attribution_svc's server over any store, on a real port, with its callers."""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc
from pydantic import SecretStr

from attribution_svc.campaigns.caps import CapCounts, ConversionCounts
from attribution_svc.campaigns.overlays import RemoteOverlays
from attribution_svc.campaigns.registry import CampaignRegistry, OwnHosts
from attribution_svc.campaigns.retroactive import Retroactive
from attribution_svc.campaigns.routing_feed import RoutingFeed
from attribution_svc.campaigns.servicer import AttributionServicer
from attribution_svc.campaigns.usage import Window
from attribution_svc.campaigns.versions import CampaignVersions
from attribution_svc.crediting.visitor import Visitor, Visitors
from attribution_svc.store import CampaignStore, UsageStore
from svc_runtime.clock import SystemClock
from svc_runtime.errors import NotFoundError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from svc_runtime.settings import MeshSettings
from svc_runtime.tasks import keep_running, running
from tests.contract.attribution.fake_overlays import FakeOverlays, serving
from tests.contract.attribution.memory_store import MemoryUsageStore
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as pb_grpc

MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=2)
CREDENTIALS = Credentials(MESH, "test")
ALL_SCOPES = ("campaigns:read", "campaigns:write")
Metadata = tuple[tuple[str, str], ...]


def caller_of(organization_id: str, *scopes: str, actor: str = "key:1") -> Metadata:
    """Return the metadata of a call for an organisation; with both scopes when none is given."""
    return CREDENTIALS.as_caller(
        Caller(CallerKind.ORGANIZATION, actor, organization_id, frozenset(scopes or ALL_SCOPES))
    )


@dataclass
class Replica:
    """One running attribution_svc."""

    stub: "pb_grpc.AttributionServiceAsyncStub"
    channel: grpc.aio.Channel
    feed: RoutingFeed
    server: GrpcServer

    async def create(self, slug: str = "", **fields: str) -> pb.Campaign:
        """Create a campaign of org_a."""
        request = pb.CreateCampaignRequest(slug=slug, destination_url="https://shop.example/")
        request.MergeFrom(pb.CreateCampaignRequest(**fields))  # type: ignore[arg-type]  # texts only
        response = await self.stub.CreateCampaign(request, metadata=caller_of("org_a"))
        return response.campaign

    def watch(self) -> "grpc.aio.UnaryStreamCall[pb.WatchRoutingRequest, pb.WatchRoutingResponse]":
        """Begin a watch."""
        return self.stub.WatchRouting(pb.WatchRoutingRequest(watcher="test"), metadata=CREDENTIALS.as_service())


class NoConversions:
    """Counts none."""

    async def conversion_counts(self, windows: Sequence[Window]) -> list[int]:
        """See ``ConversionCounts.conversion_counts``."""
        return [0] * len(windows)


class NoHosts:
    """Knows no tracking host."""

    async def of(self, organization_id: str) -> frozenset[str]:
        """See ``OwnHosts.of``."""
        return frozenset()


class Nobody:
    """Knows no visitor."""

    async def visitor(
        self,
        caller: Caller,
        *,
        user_id: str,
        click_id: str,
        start_time: datetime,
        end_time: datetime,
        is_person: bool = False,
    ) -> Visitor:
        """See ``Visitors.visitor``."""
        raise NotFoundError("no such visitor")


@contextlib.asynccontextmanager
async def running_replica(
    store: CampaignStore,
    *,
    feed: RoutingFeed | None = None,
    visitors: Visitors | None = None,
    overlays: FakeOverlays | None = None,
    usage: UsageStore | None = None,
    hosts: OwnHosts | None = None,
    conversions: ConversionCounts | None = None,
) -> AsyncIterator[Replica]:
    """Serve ``store`` for the time of the block."""
    feed = feed or RoutingFeed(store)
    tokens, clock = PageTokens("m" * 32, "attribution_svc"), SystemClock()
    server = GrpcServer(MESH, service_names=[])
    async with contextlib.AsyncExitStack() as stack:
        analytics_port = await stack.enter_async_context(serving(overlays or FakeOverlays(), MESH))
        analytics = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{analytics_port}"))
        remote = RemoteOverlays(analytics, CREDENTIALS)
        retroactive = Retroactive(store, remote)
        servicer = AttributionServicer(
            CampaignRegistry(store, tokens, hosts or NoHosts(), clock=clock),
            CampaignVersions(store, tokens, clock=clock),
            retroactive,
            store.claims,
            remote,
            feed,
            CapCounts(usage or MemoryUsageStore(), conversions or NoConversions()),
            visitors or Nobody(),
            clock=clock,
        )
        server.add(lambda s: pb_grpc.add_AttributionServiceServicer_to_server(servicer, s))
        port = await server.start("127.0.0.1:0")
        await stack.enter_async_context(running("feed", feed.run()))
        await stack.enter_async_context(running("claims", keep_running("claims", retroactive.run)))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        stub: pb_grpc.AttributionServiceAsyncStub = pb_grpc.AttributionServiceStub(channel)
        try:
            yield Replica(stub, channel, feed, server)
        finally:
            feed.close()
            await server.stop()


class Watcher:
    """Keeps what a watch says, as a gateway does."""

    def __init__(self) -> None:
        self.epoch = 0
        self.revision = 0
        self.campaigns: dict[tuple[str, str], pb.Campaign] = {}
        self.snapshot_count = 0

    def apply(self, message: pb.WatchRoutingResponse) -> None:
        """Take one message in, and check that it keeps the order."""
        if message.is_snapshot:
            self.snapshot_count += 1
            self.campaigns.clear()
            assert message.epoch > self.epoch or message.revision >= self.revision
        else:
            assert message.epoch == self.epoch
            assert message.revision > self.revision
            assert 0 < len(message.campaigns) <= 1000
        self.epoch, self.revision = message.epoch, message.revision
        for campaign in message.campaigns:
            key = (campaign.organization_id, campaign.campaign_id)
            if campaign.status == pb.CAMPAIGN_STATUS_ARCHIVED:
                assert not message.is_snapshot
                self.campaigns.pop(key, None)
            else:
                assert key not in self.campaigns or self.campaigns[key].version <= campaign.version
                self.campaigns[key] = campaign

    async def follow(self, messages: AsyncIterable[pb.WatchRoutingResponse]) -> None:
        """Take everything in until the stream ends."""
        async for message in messages:
            self.apply(message)

    def slugs(self) -> set[str]:
        """Return the slugs held."""
        return {campaign.slug for campaign in self.campaigns.values()}
