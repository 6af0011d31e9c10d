"""The last hour and the day, asked for and pushed."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

import contextlib
from collections.abc import AsyncIterator

from analytics_svc.convert.realtime import query_from_pb, realtime_to_pb
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.analytics.v1 import realtime_pb2 as pb


class RealtimeMethods:
    """The RPCs of what is going on."""

    realtime: RealtimeQuestions

    async def GetRealtime(self, request: pb.GetRealtimeRequest, context: ServicerContext) -> pb.GetRealtimeResponse:
        """Report the last hour and the day."""
        query = query_from_pb(request, organization_id=current_caller().organization_id)
        return pb.GetRealtimeResponse(realtime=realtime_to_pb(await self.realtime.get(query)))

    async def WatchRealtime(
        self, request: pb.WatchRealtimeRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchRealtimeResponse]:
        """Tell of them as they change."""
        query = query_from_pb(request.query, organization_id=current_caller().organization_id, path="query.")
        async with contextlib.aclosing(self.realtime.watch(query)) as states:
            async for state in states:
                yield pb.WatchRealtimeResponse(realtime=realtime_to_pb(state))
