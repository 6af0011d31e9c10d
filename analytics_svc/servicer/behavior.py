"""Behaviour: funnels, retention, journeys and paths. Long answers are written beside the event loop."""

# ruff: noqa: N802 - grpc names the methods

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from analytics_svc.behavior.columns import milliseconds
from analytics_svc.behavior.journey import JourneySpec, Position
from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.convert import behavior as convert
from analytics_svc.convert import behavior_answers as answers
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.paging import PageTokens
from trellis.analytics.v1 import behavior_pb2 as pb


class BehaviorMethods:
    """The RPCs of what visitors do one after the other."""

    behavior: BehaviorQuestions
    clock: Clock
    page_tokens: PageTokens

    async def QueryFunnel(
        self,
        request: pb.QueryFunnelRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> pb.QueryFunnelResponse:
        """Count who takes one step after the other."""
        spec = convert.funnel_from_pb(request, organization_id=_organization_id(), now=self.clock.now())
        answer = await self.behavior.funnel(spec)
        return answers.funnels_to_pb(spec, answer.value, answer.basis)

    async def QueryRetention(
        self,
        request: pb.QueryRetentionRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> pb.QueryRetentionResponse:
        """Count who comes back."""
        spec = convert.retention_from_pb(request, organization_id=_organization_id(), now=self.clock.now())
        answer = await self.behavior.retention(spec)
        cohorts, overall = answer.value
        return await asyncio.to_thread(answers.retention_to_pb, spec, cohorts, overall, answer.basis)

    async def ListJourneys(
        self,
        request: pb.ListJourneysRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> pb.ListJourneysResponse:
        """List what visitors did."""
        organization_id = _organization_id()
        spec = convert.journeys_from_pb(request, organization_id=organization_id, now=self.clock.now())
        scope = ("journeys", organization_id, _question(request))
        after = None
        if opened := self.page_tokens.open(request.page_token, *scope):
            start_ms, end_ms, last_ms, user_id = opened
            # The same slice on every page: "now" has moved on, and a visitor must not change its place.
            part = replace(spec.slice, start_time=_instant(start_ms), end_time=_instant(end_ms))
            spec, after = replace(spec, slice=part), Position(last_ms, user_id)
        answer = await self.behavior.journeys(spec, after=after)
        journeys, position = answer.value
        token = self.page_tokens.seal(_sealed(spec, position), *scope) if position else ""
        return await asyncio.to_thread(answers.journeys_to_pb, journeys, token, answer.basis)

    async def QueryPaths(
        self,
        request: pb.QueryPathsRequest,
        context: ServicerContext,  # noqa: ARG002 - grpc passes it
    ) -> pb.QueryPathsResponse:
        """Count the ways that visitors took."""
        spec = convert.paths_from_pb(request, organization_id=_organization_id(), now=self.clock.now())
        answer = await self.behavior.paths(spec)
        paths, path_count = answer.value
        return await asyncio.to_thread(answers.paths_to_pb, paths, path_count, answer.basis)


def _organization_id() -> str:
    return current_caller().organization_id


def _question(request: pb.ListJourneysRequest) -> bytes:
    """Return what a list is about, whichever of its pages is wanted."""
    question = pb.ListJourneysRequest()
    question.CopyFrom(request)
    question.ClearField("page_token")
    question.ClearField("page_size")
    return question.SerializeToString(deterministic=True)


def _sealed(spec: JourneySpec, position: Position) -> tuple[int, int, int, str]:
    part = spec.slice
    return milliseconds(part.start_time), milliseconds(part.end_time), position.last_ms, position.user_id


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
