"""ExperimentService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
from attribution_svc.experiments.convert import bounds_from_pb, design_from_pb, experiment_to_pb, rules_to_pb
from attribution_svc.experiments.reports import ExperimentReports
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import experiment_service_pb2 as pb
from trellis.attribution.v1 import experiment_service_pb2_grpc as pb_grpc


class ExperimentServicer(pb_grpc.ExperimentServiceServicer):
    """How the rules and destinations of campaigns do."""

    def __init__(self, reports: ExperimentReports) -> None:
        self._reports = reports

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: ServicerContext
    ) -> pb.GetExperimentResponse:
        """Compare the destinations of an action."""
        start, end = bounds_from_pb(request.time_range)
        report = await self._reports.experiment(
            current_caller(),
            request.campaign_id,
            request.rule_id,
            start_time=start,
            end_time=end,
            design=design_from_pb(request),
        )
        return experiment_to_pb(report)

    async def GetRuleReport(
        self, request: pb.GetRuleReportRequest, context: ServicerContext
    ) -> pb.GetRuleReportResponse:
        """Say what each rule brought."""
        start, end = bounds_from_pb(request.time_range)
        return rules_to_pb(
            await self._reports.rules(current_caller(), request.campaign_id, start_time=start, end_time=end)
        )
