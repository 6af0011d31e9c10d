"""AnalyticsService, put together."""

from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.reports import Reports
from analytics_svc.run_sql import SqlRunner
from analytics_svc.servicer.behavior import BehaviorMethods
from analytics_svc.servicer.realtime import RealtimeMethods
from analytics_svc.servicer.reports import ReportMethods
from analytics_svc.servicer.sql import SqlMethods
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.clock import Clock
from svc_runtime.paging import PageTokens
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc


class AnalyticsServicer(ReportMethods, BehaviorMethods, RealtimeMethods, SqlMethods, pb_grpc.AnalyticsServiceServicer):
    """Every RPC of AnalyticsService. What a module's methods need is an argument here, kept under its own name."""

    def __init__(
        self,
        *,
        sql: SqlRunner,
        realtime: RealtimeQuestions,
        reports: Reports,
        behavior: BehaviorQuestions,
        page_tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self.sql = sql
        self.realtime = realtime
        self.reports = reports
        self.behavior = behavior
        self.page_tokens = page_tokens
        self.clock = clock
