"""ExplainService in memory."""

from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import stamp
from trellis.analytics.v1 import explain_service_pb2 as pb
from trellis.analytics.v1 import explain_service_pb2_grpc, report_pb2

_WRONG = [
    Violation("metric", "is none"),
    Violation("values[0].dimension", "is none"),
    Violation("step_time", "is none"),
]


class FakeExplain(explain_service_pb2_grpc.ExplainServiceServicer):
    """Explains revenue."""

    def __init__(self) -> None:
        self.asked = pb.ExplainCellRequest()

    async def ExplainCell(self, request: pb.ExplainCellRequest, context: ServicerContext) -> pb.ExplainCellResponse:
        """Return what a sale rests on."""
        self.asked = request
        if request.metric != "revenue":
            raise InvalidArgumentError.of(_WRONG)
        summed = pb.CellMeasure(name="revenue", function="sum", of_events="value", where_event="is_conversion = 1")
        return pb.ExplainCellResponse(
            metric=report_pb2.Metric(name="revenue", description="Values.", unit="money"),
            expression="m_revenue",
            measures=[summed],
            value=report_pb2.Value(amount_micros=149_990_000),
            value_of_events=report_pb2.Value(amount_micros=149_990_000),
            event_count=1,
            samples=[pb.CellEvent(event_id="e1", event_time=stamp(), event_type="purchase", value_micros=149_990_000)],
            pending=[pb.CellPending(kind="rebuild", state="running")],
            info=report_pb2.ResultInfo(sources=["day"]),
        )
