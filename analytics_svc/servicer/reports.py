"""Reports: time series, breakdowns and campaigns. Long answers are written beside the event loop."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

import asyncio

from analytics_svc.convert.reports import (
    breakdown_from_pb,
    breakdown_to_pb,
    campaign_from_pb,
    campaign_to_pb,
    catalogue_to_pb,
    timeseries_from_pb,
    timeseries_to_pb,
)
from analytics_svc.reports import Reports
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.paging import PageTokens
from trellis.analytics.v1 import report_pb2 as pb


class ReportMethods:
    """The RPCs of reports."""

    reports: Reports
    page_tokens: PageTokens
    clock: Clock

    async def DescribeReports(
        self, request: pb.DescribeReportsRequest, context: ServicerContext
    ) -> pb.DescribeReportsResponse:
        """List metrics and dimensions."""
        return catalogue_to_pb()

    async def QueryTimeseries(
        self, request: pb.QueryTimeseriesRequest, context: ServicerContext
    ) -> pb.QueryTimeseriesResponse:
        """Report metrics over time."""
        spec = timeseries_from_pb(request, organization_id=current_caller().organization_id, now=self.clock.now())
        return await asyncio.to_thread(timeseries_to_pb, await self.reports.timeseries(spec), spec)

    async def QueryBreakdown(
        self, request: pb.QueryBreakdownRequest, context: ServicerContext
    ) -> pb.QueryBreakdownResponse:
        """Report metrics by values of dimensions."""
        spec = breakdown_from_pb(
            request,
            organization_id=current_caller().organization_id,
            now=self.clock.now(),
            tokens=self.page_tokens,
        )
        report = await self.reports.breakdown(spec)
        return await asyncio.to_thread(breakdown_to_pb, report, spec, request, self.page_tokens)

    async def GetCampaignReport(
        self, request: pb.GetCampaignReportRequest, context: ServicerContext
    ) -> pb.GetCampaignReportResponse:
        """Report on one campaign."""
        spec = campaign_from_pb(request, organization_id=current_caller().organization_id, now=self.clock.now())
        return campaign_to_pb(await self.reports.campaign(spec), spec)
