"""What attribution_svc asks of analytics_svc: the journeys of many visitors."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC
from typing import Any, TypeVar

import grpc
import numpy as np

from attribution_svc.crediting.explanation import CandidateEvent, ConversionCandidates
from attribution_svc.crediting.report import JourneyScope, Summary
from attribution_svc.crediting.reports import JourneyChunk
from attribution_svc.models.columns import Columns
from attribution_svc.models.paths import Path
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller
from svc_runtime.rpc_status import error_from_rpc
from trellis.analytics.v1 import journey_service_pb2 as pb
from trellis.analytics.v1 import journey_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import report_pb2

_SECONDS = 120.0
_MessageT = TypeVar("_MessageT", pb.ExportJourneysResponse, pb.ExportPathsResponse)


class JourneyStream:
    """``Journeys`` and ``CandidateSource`` of analytics_svc, asked in the name of a caller.

    Who may not read them there gets none here.
    """

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub: pb_grpc.JourneyServiceAsyncStub = pb_grpc.JourneyServiceStub(channel)
        self._credentials = credentials

    async def journeys(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[JourneyChunk | Summary, None]:
        """See ``Journeys.journeys``."""
        request = pb.ExportJourneysRequest(scope=_scope(scope))
        stream = self._stub.ExportJourneys(request, metadata=self._credentials.as_caller(caller), timeout=_SECONDS)
        async for message in _messages(stream):
            yield _summary(message.summary) if message.HasField("summary") else _chunk(message.chunk)

    async def paths(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[Sequence[Path] | Summary, None]:
        """See ``Journeys.paths``."""
        request = pb.ExportPathsRequest(scope=_scope(scope))
        stream = self._stub.ExportPaths(request, metadata=self._credentials.as_caller(caller), timeout=_SECONDS)
        async for message in _messages(stream):
            yield _summary(message.summary) if message.HasField("summary") else _paths(message.chunk)

    async def candidates(self, caller: Caller, event_id: str, dimension: str) -> ConversionCandidates:
        """See ``CandidateSource.candidates``."""
        request = pb.GetConversionCandidatesRequest(event_id=event_id, dimension=dimension)
        try:
            found = await self._stub.GetConversionCandidates(
                request, metadata=self._credentials.as_caller(caller), timeout=_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        return ConversionCandidates(
            _event(found.conversion),
            tuple(_event(event) for event in found.candidates),
            found.has_earlier,
            found.watermark_time.ToDatetime(UTC) if found.HasField("watermark_time") else None,
            found.adjustment_count,
            found.adjustment_micros,
        )


async def _messages(stream: "grpc.aio.UnaryStreamCall[Any, _MessageT]") -> AsyncIterator[_MessageT]:
    """Yield every message. Raise what analytics_svc raised; UnavailableError where the last message is missing."""
    is_whole = False
    try:
        async for message in stream:
            is_whole = message.HasField("summary")
            yield message
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None
    finally:
        stream.cancel()
    if not is_whole:
        raise UnavailableError("the journeys were cut: ask again")


def _scope(scope: JourneyScope) -> pb.JourneyScope:
    message = pb.JourneyScope(
        slice=report_pb2.Slice.FromString(scope.part),
        conversion_types=scope.conversion_types,
        dimension=scope.dimension,
    )
    for each in scope.lookbacks:
        rule = message.lookbacks.add(
            conversion_type=each.conversion_type, is_same_session=each.lookback.is_same_session
        )
        if each.lookback.milliseconds is not None:
            rule.lookback.FromMilliseconds(each.lookback.milliseconds)
    return message


def _chunk(chunk: pb.JourneyChunk) -> JourneyChunk:
    return JourneyChunk(
        chunk.values,
        Columns(
            np.array(chunk.value_micros, np.int64),
            np.array(chunk.touch_counts, np.int64),
            np.array(chunk.touch_values, np.int64),
            np.array(chunk.touch_ages_ms, np.int64),
            np.array(chunk.touch_is_direct, np.bool_),
            np.array(chunk.conversion_counts, np.int64),
        ),
    )


def _paths(chunk: pb.PathChunk) -> list[Path]:
    values, channels = list(chunk.values), list(chunk.touch_values)
    found, first = [], 0
    for count, converted, unconverted, micros in zip(
        chunk.touch_counts, chunk.conversion_counts, chunk.unconverted_counts, chunk.value_micros, strict=True
    ):
        walked = tuple(values[place] for place in channels[first : first + count])
        found.append(Path(walked, converted, unconverted, micros))
        first += count
    return found


def _summary(summary: pb.JourneySummary) -> Summary:
    return Summary(
        summary.info.currency,
        summary.anonymous_conversion_count,
        summary.anonymous_value_micros,
        summary.info.SerializeToString(),
    )


def _event(event: pb.CandidateEvent) -> CandidateEvent:
    return CandidateEvent(
        event_id=event.event_id,
        event_time=event.event_time.ToDatetime(UTC),
        event_type=event.event_type,
        user_id=event.user_id,
        session_id=event.session_id,
        source=event.source,
        medium=event.medium,
        channel=event.channel,
        campaign_id=event.campaign_id,
        campaign_version=event.campaign_version,
        dimension_value=event.dimension_value,
        is_conversion=event.is_conversion,
        conversion_type=event.conversion_type,
        conversion_status=event.conversion_status,
        value_micros=event.value_micros,
        currency=event.currency,
        is_bot=event.is_bot,
        is_touch=event.is_touch,
        touch_event_id=event.touch_event_id,
        enrichment_version=event.enrichment_version,
        mapping_versions=tuple(event.mapping_versions),
    )
