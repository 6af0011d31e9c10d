"""AttributionService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
import contextlib
from collections.abc import AsyncIterator

from attribution_svc.convert import (
    campaign_to_pb,
    change_from_pb,
    new_campaign_from_pb,
    routing_update_to_pb,
    status_filter_from_pb,
)
from attribution_svc.convert_attribution import attribution_to_pb, question_from_pb
from attribution_svc.convert_rules import exchange_from_pb
from attribution_svc.registry import CampaignRegistry
from attribution_svc.routing_feed import RoutingFeed
from attribution_svc.store import UsageStore
from attribution_svc.visitor import Visitors, attribute
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as pb_grpc


class AttributionServicer(pb_grpc.AttributionServiceServicer):
    """Campaigns and what gateways route by."""

    def __init__(
        self, registry: CampaignRegistry, feed: RoutingFeed, usage: UsageStore, visitors: Visitors, *, clock: Clock
    ) -> None:
        self._registry = registry
        self._feed = feed
        self._usage = usage
        self._visitors = visitors
        self._clock = clock

    async def CreateCampaign(
        self, request: pb.CreateCampaignRequest, context: ServicerContext
    ) -> pb.CreateCampaignResponse:
        """Create a campaign of the caller's organisation."""
        caller = current_caller()
        campaign = await self._registry.create(
            new_campaign_from_pb(request), organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.CreateCampaignResponse(campaign=campaign_to_pb(campaign))

    async def GetCampaign(self, request: pb.GetCampaignRequest, context: ServicerContext) -> pb.GetCampaignResponse:
        """Return a campaign of the caller's organisation."""
        campaign = await self._registry.get(request.campaign_id, organization_id=current_caller().organization_id)
        return pb.GetCampaignResponse(campaign=campaign_to_pb(campaign))

    async def ListCampaigns(
        self, request: pb.ListCampaignsRequest, context: ServicerContext
    ) -> pb.ListCampaignsResponse:
        """Return a page of the campaigns of the caller's organisation."""
        page = await self._registry.list_page(
            organization_id=current_caller().organization_id,
            status=status_filter_from_pb(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListCampaignsResponse(
            campaigns=[campaign_to_pb(campaign) for campaign in page.campaigns], next_page_token=page.next_page_token
        )

    async def UpdateCampaign(
        self, request: pb.UpdateCampaignRequest, context: ServicerContext
    ) -> pb.UpdateCampaignResponse:
        """Change a campaign of the caller's organisation."""
        caller = current_caller()
        campaign = await self._registry.update(
            request.campaign_id, change_from_pb(request), organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.UpdateCampaignResponse(campaign=campaign_to_pb(campaign))

    async def AttributeJourney(
        self, request: pb.AttributeJourneyRequest, context: ServicerContext
    ) -> pb.AttributeJourneyResponse:
        """Credit a visitor's conversions to the touches before them."""
        asked = question_from_pb(request, now=self._clock.now())
        visitor = await self._visitors.visitor(
            current_caller(),
            user_id=asked.user_id,
            click_id=asked.click_id,
            start_time=asked.earliest_time,
            end_time=asked.end_time,
        )
        found = attribute(
            visitor,
            asked.rule,
            lookback=asked.lookback,
            start_time=asked.start_time,
            end_time=asked.end_time,
            currency=asked.currency,
        )
        return attribution_to_pb(visitor, asked.model, found)

    async def ExchangeUsage(
        self, request: pb.ExchangeUsageRequest, context: ServicerContext
    ) -> pb.ExchangeUsageResponse:
        """Add what a gateway counted and say what all of them did."""
        return pb.ExchangeUsageResponse(totals=await self._usage.exchange(exchange_from_pb(request)))

    async def WatchRouting(
        self, request: pb.WatchRoutingRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchRoutingResponse]:
        """Stream a snapshot, then every change."""
        async with contextlib.aclosing(self._feed.watch(request.watcher)) as updates:
            async for update in updates:
                yield routing_update_to_pb(update)
