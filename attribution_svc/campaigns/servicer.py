"""AttributionService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
import contextlib
from collections.abc import AsyncIterator, Sequence

from attribution_svc.campaigns.campaign import Campaign, require_claim
from attribution_svc.campaigns.caps import CapCounts
from attribution_svc.campaigns.convert import (
    campaign_to_pb,
    change_from_pb,
    new_campaign_from_pb,
    routing_update_to_pb,
    status_filter_from_pb,
    version_to_pb,
)
from attribution_svc.campaigns.convert_rules import exchange_from_pb
from attribution_svc.campaigns.overlays import RemoteOverlays
from attribution_svc.campaigns.registry import CampaignRegistry
from attribution_svc.campaigns.retroactive import Retroactive
from attribution_svc.campaigns.routing_feed import RoutingFeed
from attribution_svc.campaigns.versions import CampaignVersions
from attribution_svc.crediting.convert_attribution import attribution_to_pb, question_from_pb
from attribution_svc.crediting.visitor import Visitors, attribute
from attribution_svc.store import ClaimStore
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as pb_grpc


class AttributionServicer(pb_grpc.AttributionServiceServicer):
    """Campaigns and what gateways route by."""

    def __init__(
        self,
        registry: CampaignRegistry,
        versions: CampaignVersions,
        retroactive: Retroactive,
        claims: ClaimStore,
        overlays: RemoteOverlays,
        feed: RoutingFeed,
        caps: CapCounts,
        visitors: Visitors,
        *,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._retroactive = retroactive
        self._claims = claims
        self._overlays = overlays
        self._feed = feed
        self._caps = caps
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
        return pb.CreateCampaignResponse(campaign=await self._handed_over(campaign))

    async def GetCampaign(self, request: pb.GetCampaignRequest, context: ServicerContext) -> pb.GetCampaignResponse:
        """Return a campaign of the caller's organisation."""
        campaign = await self._registry.get(request.campaign_id, organization_id=current_caller().organization_id)
        return pb.GetCampaignResponse(campaign=(await self._with_progress([campaign]))[0])

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
            campaigns=await self._with_progress(page.campaigns), next_page_token=page.next_page_token
        )

    async def UpdateCampaign(
        self, request: pb.UpdateCampaignRequest, context: ServicerContext
    ) -> pb.UpdateCampaignResponse:
        """Change a campaign of the caller's organisation."""
        caller = current_caller()
        campaign = await self._registry.update(
            request.campaign_id, change_from_pb(request), organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.UpdateCampaignResponse(campaign=await self._handed_over(campaign))

    async def ListCampaignVersions(
        self, request: pb.ListCampaignVersionsRequest, context: ServicerContext
    ) -> pb.ListCampaignVersionsResponse:
        """Return a page of a campaign's versions."""
        page = await self._versions.list_page(
            request.campaign_id,
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListCampaignVersionsResponse(
            versions=[version_to_pb(version) for version in page.versions], next_page_token=page.next_page_token
        )

    async def GetCampaignVersion(
        self, request: pb.GetCampaignVersionRequest, context: ServicerContext
    ) -> pb.GetCampaignVersionResponse:
        """Return a version of a campaign."""
        version = await self._versions.get(
            request.campaign_id, request.version, organization_id=current_caller().organization_id
        )
        return pb.GetCampaignVersionResponse(version=version_to_pb(version))

    async def ActivateCampaignVersion(
        self, request: pb.ActivateCampaignVersionRequest, context: ServicerContext
    ) -> pb.ActivateCampaignVersionResponse:
        """Let a campaign be as it was, or claim nothing."""
        caller = current_caller()
        campaign = await self._versions.activate(
            request.campaign_id,
            request.version,
            expected_version=request.expected_version,
            organization_id=caller.organization_id,
            actor=caller.actor,
        )
        return pb.ActivateCampaignVersionResponse(campaign=await self._handed_over(campaign))

    async def PreviewCampaign(
        self, request: pb.PreviewCampaignRequest, context: ServicerContext
    ) -> pb.PreviewCampaignResponse:
        """Say what a retroactive campaign would change."""
        caller = current_caller()
        if request.HasField("change"):
            campaign = await self._registry.preview_change(
                request.change.campaign_id, change_from_pb(request.change), organization_id=caller.organization_id
            )
        else:
            campaign = await self._registry.preview_new(
                new_campaign_from_pb(request.campaign), organization_id=caller.organization_id
            )
        require_claim(campaign)
        yielding = await self._retroactive.yielding(campaign)
        return pb.PreviewCampaignResponse(
            campaign=campaign_to_pb(campaign), preview=await self._overlays.preview(caller, campaign, yielding)
        )

    async def _handed_over(self, campaign: Campaign) -> pb.Campaign:
        """Return a campaign that was changed, with what became of its claim."""
        if campaign.definition.claim is not None:
            await self._retroactive.hand_over(campaign)
        return (await self._with_progress([campaign]))[0]

    async def _with_progress(self, campaigns: Sequence[Campaign]) -> list[pb.Campaign]:
        """Return campaigns, all of one organisation, each with what became of its claim."""
        retroactive = [campaign.campaign_id for campaign in campaigns if campaign.definition.claim is not None]
        orders = await self._claims.orders(campaigns[0].organization_id, retroactive) if retroactive else {}
        return [campaign_to_pb(campaign, orders.get(campaign.campaign_id)) for campaign in campaigns]

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
            is_person=request.is_person,
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
        return pb.ExchangeUsageResponse(totals=await self._caps.exchange(exchange_from_pb(request)))

    async def WatchRouting(
        self, request: pb.WatchRoutingRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchRoutingResponse]:
        """Stream a snapshot, then every change."""
        async with contextlib.aclosing(self._feed.watch(request.watcher)) as updates:
            async for update in updates:
                yield routing_update_to_pb(update)
