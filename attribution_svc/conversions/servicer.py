"""ConversionService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
from attribution_svc.conversions.conversions import Conversions
from attribution_svc.conversions.convert import conversion_to_pb, events_to_pb, time_range_from_pb, wanted_from_pb
from attribution_svc.conversions.convert_rules import (
    defaults_to_pb,
    networks_to_pb,
    operation_to_pb,
    orphan_sum_to_pb,
    policies_to_pb,
    policy_from_pb,
    unmapped_to_pb,
)
from attribution_svc.conversions.orphans import Orphans
from attribution_svc.conversions.ruling import Ruling
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import conversion_service_pb2 as pb
from trellis.attribution.v1 import conversion_service_pb2_grpc as pb_grpc


class ConversionServicer(pb_grpc.ConversionServiceServicer):
    """Conversions of the caller's organisation."""

    def __init__(self, conversions: Conversions, orphans: Orphans, ruling: Ruling) -> None:
        self._conversions = conversions
        self._orphans = orphans
        self._ruling = ruling

    async def GetConversion(
        self, request: pb.GetConversionRequest, context: ServicerContext
    ) -> pb.GetConversionResponse:
        """Return a conversion and its events."""
        kept, events = await self._conversions.get(
            request.conversion_id, organization_id=current_caller().organization_id
        )
        return pb.GetConversionResponse(conversion=conversion_to_pb(kept), events=events_to_pb(events))

    async def ListConversions(
        self, request: pb.ListConversionsRequest, context: ServicerContext
    ) -> pb.ListConversionsResponse:
        """Return a page of conversions."""
        page = await self._conversions.list_page(
            wanted_from_pb(request),
            organization_id=current_caller().organization_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListConversionsResponse(
            conversions=map(conversion_to_pb, page.conversions), next_page_token=page.next_page_token
        )

    async def MatchConversion(
        self, request: pb.MatchConversionRequest, context: ServicerContext
    ) -> pb.MatchConversionResponse:
        """Make a click that of a conversion."""
        caller = current_caller()
        kept = await self._orphans.match(
            request.conversion_id, request.click_id, organization_id=caller.organization_id, actor=caller.actor
        )
        return pb.MatchConversionResponse(conversion=conversion_to_pb(kept))

    async def GetOrphanSummary(
        self, request: pb.GetOrphanSummaryRequest, context: ServicerContext
    ) -> pb.GetOrphanSummaryResponse:
        """Say what conversions without a click come to."""
        start_time, end_time = time_range_from_pb(request.time_range)
        sums = await self._orphans.sums(
            organization_id=current_caller().organization_id, start_time=start_time, end_time=end_time
        )
        return pb.GetOrphanSummaryResponse(sums=map(orphan_sum_to_pb, sums))

    async def GetConversionPolicies(
        self, request: pb.GetConversionPoliciesRequest, context: ServicerContext
    ) -> pb.GetConversionPoliciesResponse:
        """Return which events of an order make its value."""
        organization_id = current_caller().organization_id
        held = await self._ruling.rules(organization_id)
        return pb.GetConversionPoliciesResponse(
            policies=policies_to_pb(held.rules),
            operations=map(operation_to_pb, await self._ruling.operations(organization_id)),
            rules_version=held.version,
        )

    async def SetConversionPolicy(
        self, request: pb.SetConversionPolicyRequest, context: ServicerContext
    ) -> pb.SetConversionPolicyResponse:
        """Set the policy of a conversion type."""
        caller = current_caller()
        held, operation = await self._ruling.set_policy(
            request.conversion_type,
            policy_from_pb(request),
            organization_id=caller.organization_id,
            actor=caller.actor,
        )
        return pb.SetConversionPolicyResponse(
            policies=policies_to_pb(held.rules), operation=operation_to_pb(operation) if operation else None
        )

    async def GetStatusVocabulary(
        self, request: pb.GetStatusVocabularyRequest, context: ServicerContext
    ) -> pb.GetStatusVocabularyResponse:
        """Return what words for a status mean."""
        organization_id = current_caller().organization_id
        held = await self._ruling.rules(organization_id)
        return pb.GetStatusVocabularyResponse(
            networks=networks_to_pb(held.rules),
            defaults=defaults_to_pb(),
            unmapped=map(unmapped_to_pb, await self._ruling.unmapped(organization_id)),
        )

    async def SetStatusVocabulary(
        self, request: pb.SetStatusVocabularyRequest, context: ServicerContext
    ) -> pb.SetStatusVocabularyResponse:
        """Set what a network's words for a status mean."""
        caller = current_caller()
        held, operation = await self._ruling.set_words(
            request.vocabulary.network,
            [(word.word, word.status) for word in request.vocabulary.words],
            default_currency=request.vocabulary.default_currency,
            organization_id=caller.organization_id,
            actor=caller.actor,
        )
        return pb.SetStatusVocabularyResponse(
            networks=networks_to_pb(held.rules), operation=operation_to_pb(operation) if operation else None
        )
