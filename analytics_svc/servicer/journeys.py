"""JourneyService on the wire. Long columns are written beside the event loop."""

# ruff: noqa: N802 - grpc names the methods

import asyncio
import contextlib
from collections.abc import AsyncIterator

from analytics_svc.behavior.candidates import ConversionCandidates
from analytics_svc.behavior.exports import JourneyExports, Summary
from analytics_svc.convert import journeys as convert
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import journey_service_pb2 as pb
from trellis.analytics.v1 import journey_service_pb2_grpc as pb_grpc


class JourneyServicer(pb_grpc.JourneyServiceServicer):
    """Journeys for who credits them."""

    def __init__(self, exports: JourneyExports, candidates: ConversionCandidates, *, clock: Clock) -> None:
        self._exports = exports
        self._candidates = candidates
        self._clock = clock

    async def ExportJourneys(
        self,
        request: pb.ExportJourneysRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> AsyncIterator[pb.ExportJourneysResponse]:
        """Stream conversions with their touches."""
        organization_id = current_caller().organization_id
        spec = convert.scope_from_pb(request.scope, organization_id=organization_id, now=self._clock.now())
        async with contextlib.aclosing(self._exports.journeys(spec)) as found:
            async for part in found:
                if isinstance(part, Summary):
                    yield pb.ExportJourneysResponse(summary=convert.summary_to_pb(part))
                    continue
                for message in await asyncio.to_thread(convert.journeys_to_pb, *part):
                    yield message

    async def ExportPaths(
        self,
        request: pb.ExportPathsRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> AsyncIterator[pb.ExportPathsResponse]:
        """Stream counted paths."""
        organization_id = current_caller().organization_id
        spec = convert.scope_from_pb(request.scope, organization_id=organization_id, now=self._clock.now())
        async with contextlib.aclosing(self._exports.paths(spec)) as found:
            async for part in found:
                if isinstance(part, Summary):
                    yield pb.ExportPathsResponse(summary=convert.summary_to_pb(part))
                    continue
                for message in await asyncio.to_thread(convert.paths_to_pb, *part):
                    yield message

    async def GetConversionCandidates(
        self,
        request: pb.GetConversionCandidatesRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> pb.GetConversionCandidatesResponse:
        """Return a conversion and the events around it."""
        dimension = convert.dimension_from_pb(request.dimension)
        found = await self._candidates.of(current_caller().organization_id, request.event_id, dimension)
        return convert.candidates_to_pb(found)
