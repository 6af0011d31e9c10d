"""What conversions ask and tell analytics_svc: clicks behind events, verdicts, and whether its reading was changed."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc

from attribution_svc.conversions.decide import EventKey, FoundClick, Linked, PersonAsked
from attribution_svc.conversions.event import text_of
from attribution_svc.conversions.kept import Touch
from attribution_svc.conversions.verdicts import Verdict
from svc_runtime.errors import InternalError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import (
    identity_service_pb2,
    identity_service_pb2_grpc,
    link_service_pb2,
    link_service_pb2_grpc,
    overlay_service_pb2,
    overlay_service_pb2_grpc,
    projection_service_pb2,
    projection_service_pb2_grpc,
)

_SECONDS = 20.0
_LONGEST_REFERENCE_BYTES = 512
_KINDS = {
    link_service_pb2.CLICK_MATCH_KIND_EXACT: "exact",
    link_service_pb2.CLICK_MATCH_KIND_ENCODED: "encoded",
    link_service_pb2.CLICK_MATCH_KIND_CASE: "case",
    link_service_pb2.CLICK_MATCH_KIND_PREFIX: "prefix",
}
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class RemoteReading:
    """``Links`` and ``Reading`` of analytics_svc, in our own name."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._credentials = credentials
        self._identity: identity_service_pb2_grpc.IdentityServiceAsyncStub = (
            identity_service_pb2_grpc.IdentityServiceStub(channel)
        )
        self._links: link_service_pb2_grpc.LinkServiceAsyncStub = link_service_pb2_grpc.LinkServiceStub(channel)
        self._overlays: overlay_service_pb2_grpc.OverlayServiceAsyncStub = overlay_service_pb2_grpc.OverlayServiceStub(
            channel
        )
        self._projection: projection_service_pb2_grpc.ProjectionServiceAsyncStub = (
            projection_service_pb2_grpc.ProjectionServiceStub(channel)
        )

    async def touches(self, keys: Sequence[EventKey]) -> tuple[list[Linked], datetime | None]:
        """See ``Links.touches``."""
        request = link_service_pb2.GetTouchesRequest(
            events=[
                link_service_pb2.EventKey(
                    organization_id=key.organization_id,
                    event_id=key.event_id,
                    event_time=timestamp_of(key.event_time),
                )
                for key in keys
            ]
        )
        answer = await self._ask(self._links.GetTouches, request)
        if len(answer.events) != len(keys):
            raise InternalError
        watermark = answer.watermark_time.ToDatetime(UTC) if answer.HasField("watermark_time") else None
        return list(map(_linked, answer.events)), watermark

    async def find_clicks(self, references: Sequence[tuple[str, str]]) -> list[list[FoundClick]]:
        """See ``Links.find_clicks``."""
        request = link_service_pb2.FindClicksRequest(
            references=[
                link_service_pb2.Reference(organization_id=organization_id, reference=_cut(reference))
                for organization_id, reference in references
            ]
        )
        answer = await self._ask(self._links.FindClicks, request)
        if len(answer.found) != len(references):
            raise InternalError
        return [
            [FoundClick(_KINDS.get(told.kind, ""), _click(told.click)) for told in found.matches]
            for found in answer.found
        ]

    async def person_clicks(self, asked: Sequence[PersonAsked]) -> list[Touch | None]:
        """See ``Links.person_clicks``."""
        request = identity_service_pb2.FindPersonClicksRequest(
            questions=[
                identity_service_pb2.PersonClickQuestion(
                    organization_id=each.key.organization_id,
                    event_id=each.key.event_id,
                    user_id=each.user_id,
                    after_time=timestamp_of(each.after_time),
                    before_time=timestamp_of(each.before_time),
                )
                for each in asked
            ]
        )
        answer = await self._ask(self._identity.FindPersonClicks, request)
        if len(answer.found) != len(asked):
            raise InternalError
        return [
            replace(_click(told.click), user_id=_plain(told.user_id)) if told.HasField("click") else None
            for told in answer.found
        ]

    async def put_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """See ``Reading.put_verdicts``."""
        await self._ask(
            self._overlays.PutVerdicts,
            overlay_service_pb2.PutVerdictsRequest(verdicts=list(map(_verdict, verdicts))),
        )

    async def last_operation(self, organization_id: str) -> str:
        """See ``Operations.last_operation``."""
        caller = Caller(
            CallerKind.ORGANIZATION,
            actor="service:attribution_svc",
            organization_id=organization_id,
            scopes=frozenset({"analytics:read"}),
        )
        request = projection_service_pb2.ListOperationsRequest(page_size=10)
        answer = await self._ask(self._projection.ListOperations, request, caller)
        over = (operation.operation_id for operation in answer.operations if operation.HasField("end_time"))
        return next(over, "")

    async def _ask(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        caller: Caller | None = None,
    ) -> ResponseT:
        metadata = self._credentials.as_caller(caller) if caller else self._credentials.as_service()
        try:
            return await method(request, metadata=metadata, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None


def _linked(event: link_service_pb2.LinkedEvent) -> Linked:
    campaign_id = _plain(event.campaign_id)
    if not event.HasField("touch"):
        return Linked(event.is_read, None, campaign_id)
    touch = replace(
        _click(event.touch),
        campaign_id=event.campaign_id,
        campaign_version=event.campaign_version,
        rule_id=event.rule_id,
        destination_id=event.destination_id,
        user_id=event.user_id,
        source=event.source,
        medium=event.medium,
        channel=event.channel,
    )
    return Linked(event.is_read, _plain_touch(touch), campaign_id)


def _click(click: link_service_pb2.Click) -> Touch:
    touch = Touch(
        event_id=click.event_id,
        event_time=click.event_time.ToDatetime(UTC),
        click_id=click.click_id,
        external_click_id=click.external_click_id,
        campaign_id=click.campaign_id,
    )
    return _plain_touch(touch)


def _verdict(verdict: Verdict) -> overlay_service_pb2.Verdict:
    share = verdict.share
    return overlay_service_pb2.Verdict(
        organization_id=verdict.organization_id,
        event_id=verdict.event_id,
        event_time=timestamp_of(verdict.event_time),
        revision=verdict.revision,
        is_conversion=share.is_conversion,
        is_adjustment=share.is_adjustment,
        value_micros=share.value_micros,
        currency=share.currency,
        status=share.status,
    )


def _cut(reference: str) -> str:
    """Return a reference as long as one may be asked for; what is no text in it is asked for as it is kept."""
    return reference.encode()[:_LONGEST_REFERENCE_BYTES].decode("utf-8", "ignore")


def _plain_touch(touch: Touch) -> Touch:
    """Return a touch with texts that a database takes: most of them are what anybody wrote into a link."""
    values = {column.name: getattr(touch, column.name) for column in fields(touch)}
    texts: dict[str, Any] = {name: _plain(value) for name, value in values.items() if isinstance(value, str)}
    return replace(touch, **texts)


def _plain(text: str) -> str:
    return text_of(text.encode())
