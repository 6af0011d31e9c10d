"""analytics_svc as the gateway meets it: it answers every question alike, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from svc_runtime.errors import NotFoundError
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import ACME, Misbehaviour, stamp
from trellis.analytics.v1 import analytics_service_pb2_grpc
from trellis.analytics.v1 import behavior_pb2 as behavior
from trellis.analytics.v1 import realtime_pb2 as realtime
from trellis.analytics.v1 import report_pb2 as report
from trellis.analytics.v1 import sql_pb2 as sql
from trellis.type.v1 import money_pb2, time_range_pb2

START, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
_VALUES = {
    "clicks": report.Value(count=15420),
    "unique_users": report.Value(count=12350),
    "conversions": report.Value(count=468),
    "conversion_rate": report.Value(number=468 / 15420 * 100),
    "revenue": report.Value(amount_micros=127_840_500_000),
    "average_order_value": report.Value(amount_micros=273_163_462),
    "roas": report.Value(number=0),
    "nothing": report.Value(),
}


def info() -> report.ResultInfo:
    return report.ResultInfo(
        watermark_time=stamp(),
        time_range=time_range_pb2.TimeRange(start_time=stamp(START), end_time=stamp(END)),
        time_zone="UTC",
        currency="USD",
        other_revenue=[money_pb2.Money(amount_micros=12_500_000, currency="EUR")],
        sources=["day"],
        rows_read=248,
        elapsed_seconds=0.004,
    )


def values(names: Any) -> list[report.Value]:
    return [_VALUES.get(name, report.Value(count=1)) for name in names]


def now(number: int = 0) -> realtime.Realtime:
    """Return a state of the realtime page, each number another one."""
    line: dict[str, Any] = {"clicks": 12 + number, "conversions": 1, "revenue_micros": 99_990_000}
    top = realtime.RealtimeTop(dimension="source", items=[realtime.RealtimeTopItem(value="facebook", **line)])
    update_time = Timestamp()
    update_time.FromMilliseconds(1_793_700_000_000 + number * 1000)
    return realtime.Realtime(
        clicks_last_hour=412 + number,
        clicks_change=8.4167,
        active_users=37,
        clicks_today=5120,
        conversions_today=61,
        revenue_today_micros=6_021_390_001,
        currency="USD",
        traffic_timeline=[realtime.RealtimeMinute(minute=stamp(), **line)],
        top_last_hour=[top],
        top_today=[top],
        update_time=update_time,
        info=info(),
    )


def sql_answer(*rows: bytes, row_count: int = 2) -> list[Any]:
    """Return the messages of an answer whose rows come in these pieces."""
    columns = [sql.SqlColumn(name="source", type="String"), sql.SqlColumn(name="clicks", type="UInt64")]
    header = sql.SqlHeader(query_id="5f0c2b9e-6c1b-4a57-9a3e-0c5f8e1d2a34", columns=columns, watermark_time=stamp())
    summary = sql.SqlSummary(row_count=row_count, rows_read=8192, bytes_read=1, elapsed_seconds=0.0123)
    pieces = rows or (b'["face', b'book", "5120"]\n', b'["go\\nogle", "871"]\n')
    return [
        sql.RunSqlResponse(header=header),
        *(sql.RunSqlResponse(rows=piece) for piece in pieces),
        sql.RunSqlResponse(summary=summary),
    ]


class FakeAnalytics(analytics_service_pb2_grpc.AnalyticsServiceServicer):
    """Answers in the shape of the question."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.requests: list[Any] = []
        self.states: asyncio.Queue[realtime.Realtime | Exception] = asyncio.Queue()
        self.watcher_count = 0
        self.sql_pieces = sql_answer()
        """What RunSql does: send a message, raise an error, or wait for an event."""
        self.was_left = asyncio.Event()
        """Set when the caller of RunSql left while it waited."""

    async def _asked(self, request: Any, context: ServicerContext) -> str:
        organization_id = await self.does.step_in(context)
        self.requests.append(request)
        return organization_id

    async def DescribeReports(
        self, request: report.DescribeReportsRequest, context: ServicerContext
    ) -> report.DescribeReportsResponse:
        await self._asked(request, context)
        return report.DescribeReportsResponse(
            metrics=[report.Metric(name="clicks", description="Clicks.", unit="count")],
            dimensions=[report.Dimension(name="source", description="Where it came from.")],
        )

    async def QueryTimeseries(
        self, request: report.QueryTimeseriesRequest, context: ServicerContext
    ) -> report.QueryTimeseriesResponse:
        await self._asked(request, context)
        points = [report.Point(start_time=stamp(START), values=values(request.metrics))]
        series = report.Series(value=request.dimension and "facebook", points=points, totals=values(request.metrics))
        return report.QueryTimeseriesResponse(
            series=[series],
            comparison_series=[series] if request.comparison else [],
            info=info(),
            granularity=request.granularity or report.GRANULARITY_HOUR,
        )

    async def QueryBreakdown(
        self, request: report.QueryBreakdownRequest, context: ServicerContext
    ) -> report.QueryBreakdownResponse:
        await self._asked(request, context)
        found = values(request.metrics)
        row = report.BreakdownRow(
            dimension_values=[f"a {name}" for name in request.dimensions],
            values=found,
            comparison_values=found if request.comparison else [],
        )
        return report.QueryBreakdownResponse(
            rows=[row],
            totals=found,
            comparison_totals=found if request.comparison else [],
            next_page_token="next",
            info=info(),
        )

    async def GetCampaignReport(
        self, request: report.GetCampaignReportRequest, context: ServicerContext
    ) -> report.GetCampaignReportResponse:
        organization_id = await self._asked(request, context)
        if organization_id != ACME or request.campaign_id == "theirs":
            raise NotFoundError(f"no campaign {request.campaign_id!r}")
        metrics = request.metrics or [name for name in _VALUES if name != "nothing"]
        return report.GetCampaignReportResponse(
            campaign_id=request.campaign_id,
            metrics=metrics,
            values=values(metrics),
            top_converting_hours=[19, 20, 21],
            top_converting_days=["friday", "saturday"],
            device_breakdown={"desktop": 120, "mobile": 14200, "tablet": 1100},
            info=info(),
        )

    async def QueryFunnel(
        self, request: behavior.QueryFunnelRequest, context: ServicerContext
    ) -> behavior.QueryFunnelResponse:
        await self._asked(request, context)
        steps = [
            behavior.FunnelStepResult(
                name=step.name or f"step {at + 1}",
                count=100 // (at + 1),
                percent_of_first=100 / (at + 1),
                percent_of_previous=100 / (at + 1) if at else None,
            )
            for at, step in enumerate(request.steps)
        ]
        return behavior.QueryFunnelResponse(funnels=[behavior.Funnel(steps=steps)], info=info())

    async def QueryRetention(
        self, request: behavior.QueryRetentionRequest, context: ServicerContext
    ) -> behavior.QueryRetentionResponse:
        await self._asked(request, context)
        value = report.Value(amount_micros=1_230_000) if request.metric == "revenue" else report.Value(count=3)
        cell = behavior.RetentionCell(value=value, percent=None if request.metric else 33.333, is_complete=True)
        cohort = behavior.Cohort(start_time=stamp(START), size=9, cells=[cell])
        return behavior.QueryRetentionResponse(
            cohorts=[cohort], overall=behavior.Cohort(size=9, cells=[cell]), info=info()
        )

    async def ListJourneys(
        self, request: behavior.ListJourneysRequest, context: ServicerContext
    ) -> behavior.ListJourneysResponse:
        organization_id = await self._asked(request, context)
        if request.user_id == "usr_nobody" or organization_id != ACME:
            raise NotFoundError(f"no visitor {request.user_id!r}")
        money = money_pb2.Money(amount_micros=149_990_000, currency="USD")
        touches = [
            behavior.Touch(event_id="e1", event_time=stamp(START), event_type="click", source="email"),
            behavior.Touch(
                event_id="e2", event_time=stamp(END), event_type="purchase", value=money, is_conversion=True
            ),
        ]
        journey = behavior.Journey(
            user_id="usr_customer123", touches=touches, event_count=2, session_count=1, conversion_count=1,
            revenue=[money],
        )  # fmt: skip
        return behavior.ListJourneysResponse(journeys=[journey], info=info())

    async def QueryPaths(
        self, request: behavior.QueryPathsRequest, context: ServicerContext
    ) -> behavior.QueryPathsResponse:
        await self._asked(request, context)
        path = behavior.Path(
            values=["email", "direct"], conversion_count=2, unconverted_count=3, revenue_micros=1_799_880_000
        )
        return behavior.QueryPathsResponse(paths=[path], info=info(), path_count=1)

    async def GetRealtime(
        self, request: realtime.GetRealtimeRequest, context: ServicerContext
    ) -> realtime.GetRealtimeResponse:
        await self._asked(request, context)
        return realtime.GetRealtimeResponse(realtime=now())

    async def WatchRealtime(
        self, request: realtime.WatchRealtimeRequest, context: ServicerContext
    ) -> AsyncIterator[realtime.WatchRealtimeResponse]:
        """Tell the state at once, then those that the test puts in; an error ends it."""
        await self._asked(request, context)
        self.watcher_count += 1
        try:
            yield realtime.WatchRealtimeResponse(realtime=now())
            while True:
                state = await self.states.get()
                if isinstance(state, Exception):
                    raise state
                yield realtime.WatchRealtimeResponse(realtime=state)
        finally:
            self.watcher_count -= 1

    async def RunSql(self, request: sql.RunSqlRequest, context: ServicerContext) -> AsyncIterator[sql.RunSqlResponse]:
        await self._asked(request, context)
        for piece in self.sql_pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, asyncio.Event):
                try:
                    await piece.wait()
                except asyncio.CancelledError:
                    self.was_left.set()
                    raise
            else:
                yield piece

    async def DescribeSql(self, request: sql.DescribeSqlRequest, context: ServicerContext) -> sql.DescribeSqlResponse:
        await self.does.step_in(context)
        columns = [sql.SqlColumn(name="source", type="LowCardinality(String)")]
        return sql.DescribeSqlResponse(tables=[sql.SqlTable(name="events", description="An event.", columns=columns)])
