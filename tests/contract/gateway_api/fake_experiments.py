"""ExperimentService as the gateway meets it."""

from typing import Any

from svc_runtime.errors import FailedPreconditionError, NotFoundError
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import FakeAttribution, Misbehaviour, stamp
from trellis.attribution.v1 import experiment_service_pb2 as pb
from trellis.attribution.v1 import experiment_service_pb2_grpc as pb_grpc
from trellis.type.v1 import money_pb2


class FakeExperiments(pb_grpc.ExperimentServiceServicer):
    """Knows the campaigns of the fake AttributionService."""

    def __init__(self, attribution: FakeAttribution) -> None:
        self.does = Misbehaviour()
        self._attribution = attribution
        self.asked: list[Any] = []

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: ServicerContext
    ) -> pb.GetExperimentResponse:
        await self._find(request, context)
        if request.rule_id == "one":
            raise FailedPreconditionError("a test has two destinations or more, this action has one")
        control = pb.ExperimentArm(destination_id="d1", url="https://a.example/", weight=50, visitor_count=1200)
        other = pb.ExperimentArm(
            destination_id="d2", weight=50, visitor_count=1000, rate=0.25, difference=0.05, z=2.5, p_value=0.01,
            beats_control=0.99, missing_visitor_count=10,
        )  # fmt: skip
        return pb.GetExperimentResponse(
            campaign_id=request.campaign_id, rule_id=request.rule_id, version=1, time_range=request.time_range,
            arms=[control, other], control_destination_id="d1", split_chi2=18.18, split_p_value=0.00002,
            is_split_broken=True, watermark_time=stamp(),
        )  # fmt: skip

    async def GetRuleReport(
        self, request: pb.GetRuleReportRequest, context: ServicerContext
    ) -> pb.GetRuleReportResponse:
        await self._find(request, context)
        used = pb.RuleEffect(
            rule_id="r1", name="One", click_count=10, share=1.0, visitor_count=8, conversion_count=2,
            revenue=[money_pb2.Money(currency="USD", amount_micros=99_990_000)], last_click_time=stamp(),
        )  # fmt: skip
        return pb.GetRuleReportResponse(
            campaign_id=request.campaign_id, version=1, time_range=request.time_range, rules=[used, pb.RuleEffect()]
        )

    async def _find(self, request: Any, context: ServicerContext) -> None:
        self.asked.append(request)
        organization_id = await self.does.step_in(context)
        if (organization_id, request.campaign_id) not in self._attribution.campaigns:
            raise NotFoundError(f"no campaign {request.campaign_id!r}")
        if not request.time_range.HasField("start_time"):
            request.time_range.start_time.CopyFrom(stamp())
        if not request.time_range.HasField("end_time"):
            request.time_range.end_time.CopyFrom(stamp())
