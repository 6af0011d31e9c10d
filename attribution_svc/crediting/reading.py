"""What attribution_svc asks of analytics_svc: the journeys of visitors."""

from collections.abc import Sequence
from datetime import UTC, datetime

import grpc

from attribution_svc.crediting.visitor import Visitor, VisitorEvent
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller
from svc_runtime.rpc_status import error_from_rpc
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import behavior_pb2 as pb

_SECONDS = 20.0


class Reading:
    """``Visitors`` of analytics_svc, asked for in the name of a caller: who may not read them there gets none here."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub: pb_grpc.AnalyticsServiceAsyncStub = pb_grpc.AnalyticsServiceStub(channel)
        self._credentials = credentials

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
        request = pb.ListJourneysRequest(user_id=user_id, click_id=click_id, page_size=1)
        request.identity = pb.IDENTITY_PERSON if is_person else pb.IDENTITY_VISITOR
        request.slice.includes_bots = True  # whoever it is, it was asked for
        request.slice.time_range.start_time.FromDatetime(start_time)
        request.slice.time_range.end_time.FromDatetime(end_time)
        try:
            answer = await self._stub.ListJourneys(
                request, metadata=self._credentials.as_caller(caller), timeout=_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        info = answer.info
        watermark_time = info.watermark_time.ToDatetime(UTC) if info.HasField("watermark_time") else None
        if not answer.journeys:
            return Visitor(user_id, (), watermark_time)
        journey = answer.journeys[0]
        return Visitor(journey.user_id, _events(journey.touches), watermark_time)


def _events(touches: Sequence[pb.Touch]) -> tuple[VisitorEvent, ...]:
    return tuple(
        VisitorEvent(
            event_id=touch.event_id,
            event_time=touch.event_time.ToDatetime(UTC),
            event_type=touch.event_type,
            source=touch.source,
            medium=touch.medium,
            channel=touch.channel,
            campaign_id=touch.campaign_id,
            session_id=touch.session_id,
            is_conversion=touch.is_conversion,
            value_micros=touch.value.amount_micros,
            currency=touch.value.currency,
        )
        for touch in touches
    )
