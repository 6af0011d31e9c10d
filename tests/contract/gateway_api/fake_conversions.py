"""ConversionService as the gateway meets it: conversions in a dict."""

from typing import Any

from svc_runtime.errors import NotFoundError
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
