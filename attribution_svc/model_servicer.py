"""ModelService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
import asyncio

from attribution_svc import convert_models as convert
from attribution_svc.credit_reports import CreditReports
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import model_service_pb2 as pb
from trellis.attribution.v1 import model_service_pb2_grpc as pb_grpc


class ModelServicer(pb_grpc.ModelServiceServicer):
    """Credits over all visitors."""

    def __init__(self, reports: CreditReports) -> None:
        self._reports = reports

    async def QueryAttribution(
        self, request: pb.QueryAttributionRequest, context: ServicerContext
    ) -> pb.QueryAttributionResponse:
        """Credit the conversions of the caller's organisation."""
        question = convert.question_from_pb(request)
        report = await self._reports.report(current_caller(), question)
        return await asyncio.to_thread(convert.report_to_pb, report)

    async def ListModels(self, request: pb.ListModelsRequest, context: ServicerContext) -> pb.ListModelsResponse:
        """List the models."""
        return convert.models_to_pb()
