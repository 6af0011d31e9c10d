"""ConversionService as the gateway meets it: conversions in a dict."""

from typing import Any

from svc_runtime.errors import InvalidArgumentError, NotFoundError, Violation
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import Misbehaviour, cut, stamp
from trellis.attribution.v1 import conversion_service_pb2 as pb
from trellis.attribution.v1 import conversion_service_pb2_grpc as pb_grpc


class FakeConversions(pb_grpc.ConversionServiceServicer):
    """What organisations ask of it."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.conversions: dict[tuple[str, str], pb.Conversion] = {}
        self.asked: list[Any] = []
        self.policies: dict[tuple[str, str], pb.ConversionPolicy] = {}
        self.networks: dict[tuple[str, str], pb.NetworkVocabulary] = {}

    def put(self, organization_id: str, conversion_id: str, **fields: Any) -> pb.Conversion:
        """Add a purchase of 99.99 USD with its click."""
        conversion = pb.Conversion(
            **{
                "conversion_id": conversion_id,
                "organization_id": organization_id,
                "conversion_type": "purchase",
                "event_type": "purchase",
                "order_id": "ORD-1",
                "is_counted": True,
                "value_micros": 99_990_000,
                "gross_micros": 99_990_000,
                "currency": "USD",
                "conversion_time": stamp(),
                "create_time": stamp(),
                "last_event_time": stamp(),
                "update_time": stamp(),
                "event_ids": [conversion_id],
                "click_references": ["fb_123abc"],
                "revision": 1,
                "match_state": pb.MATCH_STATE_MATCHED,
                "touch": pb.ConversionTouch(event_id="e1", event_time=stamp(), external_click_id="fb_123abc"),
                **fields,
            }
        )
        self.conversions[organization_id, conversion_id] = conversion
        return conversion

    async def GetConversion(
        self, request: pb.GetConversionRequest, context: ServicerContext
    ) -> pb.GetConversionResponse:
        organization_id = await self.does.step_in(context)
        conversion = self.conversions.get((organization_id, request.conversion_id))
        if conversion is None:
            raise NotFoundError(f"no conversion {request.conversion_id!r}")
        event = pb.ConversionEvent(
            event_id=conversion.conversion_id,
            event_time=stamp(),
            conversion_time=stamp(),
            event_type="purchase",
            amount_text="99.99",
            value_micros=99_990_000,
            currency="USD",
        )
        return pb.GetConversionResponse(conversion=conversion, events=[event])

    async def ListConversions(
        self, request: pb.ListConversionsRequest, context: ServicerContext
    ) -> pb.ListConversionsResponse:
        organization_id = await self.does.step_in(context)
        self.asked.append(request)
        found = [conversion for (owner, _), conversion in self.conversions.items() if owner == organization_id]
        page, token = cut(found, request)
        return pb.ListConversionsResponse(conversions=page, next_page_token=token)

    async def MatchConversion(
        self, request: pb.MatchConversionRequest, context: ServicerContext
    ) -> pb.MatchConversionResponse:
        organization_id = await self.does.step_in(context)
        conversion = self.conversions.get((organization_id, request.conversion_id))
        if conversion is None:
            raise NotFoundError(f"no conversion {request.conversion_id!r}")
        conversion.touch.external_click_id = request.click_id
        conversion.is_accepted = True
        return pb.MatchConversionResponse(conversion=conversion)

    async def GetOrphanSummary(
        self, request: pb.GetOrphanSummaryRequest, context: ServicerContext
    ) -> pb.GetOrphanSummaryResponse:
        await self.does.step_in(context)
        self.asked.append(request)
        sums = [
            pb.OrphanSum(reason="truncated", currency="USD", conversion_count=2, value_micros=3_500_000),
            pb.OrphanSum(reason="never_seen", currency="", conversion_count=1),
            pb.OrphanSum(reason="truncated", currency="EUR", conversion_count=1, value_micros=1_000_000),
        ]
        return pb.GetOrphanSummaryResponse(sums=sums)

    async def GetConversionPolicies(
        self, request: pb.GetConversionPoliciesRequest, context: ServicerContext
    ) -> pb.GetConversionPoliciesResponse:
        organization_id = await self.does.step_in(context)
        return pb.GetConversionPoliciesResponse(
            policies=self._policies(organization_id), operations=[_operation()], rules_version=3
        )

    async def SetConversionPolicy(
        self, request: pb.SetConversionPolicyRequest, context: ServicerContext
    ) -> pb.SetConversionPolicyResponse:
        organization_id = await self.does.step_in(context)
        self.asked.append(request)
        key, present = (organization_id, request.conversion_type), self._policies(organization_id)
        if request.HasField("policy"):
            policy = pb.ConversionPolicy(conversion_type=request.conversion_type)
            policy.MergeFrom(request.policy)
            self.policies[key] = policy
        elif self.policies.pop(key, None) is None:
            raise NotFoundError(f"no policy of the conversion type {request.conversion_type!r}")
        now = self._policies(organization_id)
        return pb.SetConversionPolicyResponse(policies=now, operation=None if now == present else _operation())

    async def GetStatusVocabulary(
        self, request: pb.GetStatusVocabularyRequest, context: ServicerContext
    ) -> pb.GetStatusVocabularyResponse:
        organization_id = await self.does.step_in(context)
        return pb.GetStatusVocabularyResponse(
            networks=self._networks(organization_id),
            defaults=[pb.StatusWord(word="approved", status="sale")],
            unmapped=[pb.UnmappedWord(network="adnet", word="5", event_count=17)],
        )

    async def SetStatusVocabulary(
        self, request: pb.SetStatusVocabularyRequest, context: ServicerContext
    ) -> pb.SetStatusVocabularyResponse:
        organization_id = await self.does.step_in(context)
        for index, word in enumerate(request.vocabulary.words):
            if word.status not in ("lead", "sale", "rejected", "refunded"):
                raise InvalidArgumentError.of([Violation(f"words[{index}].status", f"is {word.status!r}")])
        present = self._networks(organization_id)
        self.networks[organization_id, request.vocabulary.network] = request.vocabulary
        now = self._networks(organization_id)
        return pb.SetStatusVocabularyResponse(networks=now, operation=None if now == present else _operation())

    def _policies(self, organization_id: str) -> list[pb.ConversionPolicy]:
        return [self.policies[key] for key in sorted(self.policies) if key[0] == organization_id]

    def _networks(self, organization_id: str) -> list[pb.NetworkVocabulary]:
        return [self.networks[key] for key in sorted(self.networks) if key[0] == organization_id]


def _operation() -> pb.RuleOperation:
    return pb.RuleOperation(operation_id="op_1", state="running", done_count=5, total_count=7, create_time=stamp())
