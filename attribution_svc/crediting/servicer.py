"""ModelService on the wire: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs
import asyncio

from attribution_svc.crediting import convert_models as convert
from attribution_svc.crediting.convert_explain import explanation_to_pb, question_from_pb
from attribution_svc.crediting.explain import ConversionExplainer
from attribution_svc.crediting.reports import CreditReports
from attribution_svc.crediting.settings import ModelSettings, ModelSettingsStore
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext, current_caller
from trellis.attribution.v1 import model_service_pb2 as pb
from trellis.attribution.v1 import model_service_pb2_grpc as pb_grpc


class ModelServicer(pb_grpc.ModelServiceServicer):
    """Credits over all visitors."""

    def __init__(
        self, reports: CreditReports, explainer: ConversionExplainer, settings: ModelSettingsStore, *, clock: Clock
    ) -> None:
        self._reports = reports
        self._explainer = explainer
        self._settings = settings
        self._clock = clock

    async def QueryAttribution(
        self, request: pb.QueryAttributionRequest, context: ServicerContext
    ) -> pb.QueryAttributionResponse:
        """Credit the conversions of the caller's organisation."""
        caller = current_caller()
        question = convert.question_from_pb(request, await self._held(request.settings_version))
        report = await self._reports.report(caller, question)
        return await asyncio.to_thread(convert.report_to_pb, report)

    async def ExplainConversion(
        self, request: pb.ExplainConversionRequest, context: ServicerContext
    ) -> pb.ExplainConversionResponse:
        """Explain how a conversion of the caller's organisation is credited."""
        asked = question_from_pb(request)
        settings = await self._held(request.settings_version)
        return explanation_to_pb(await self._explainer.explain(current_caller(), asked, settings))

    async def ListModels(self, request: pb.ListModelsRequest, context: ServicerContext) -> pb.ListModelsResponse:
        """List the models."""
        return convert.models_to_pb()

    async def GetModelSettings(
        self, request: pb.GetModelSettingsRequest, context: ServicerContext
    ) -> pb.GetModelSettingsResponse:
        """Return the settings of the caller's organisation."""
        return pb.GetModelSettingsResponse(settings=convert.settings_to_pb(await self._held(request.version)))

    async def PutModelSettings(
        self, request: pb.PutModelSettingsRequest, context: ServicerContext
    ) -> pb.PutModelSettingsResponse:
        """Let others hold for the caller's organisation."""
        caller = current_caller()
        settings = await self._settings.put(
            caller.organization_id,
            convert.types_from_pb(request.types),
            actor=caller.actor,
            now=self._clock.now(),
            expected_version=request.expected_version if request.HasField("expected_version") else None,
        )
        return pb.PutModelSettingsResponse(settings=convert.settings_to_pb(settings))

    async def _held(self, version: int) -> ModelSettings:
        organization_id = current_caller().organization_id
        if version:
            return await self._settings.version(organization_id, version)
        return await self._settings.current(organization_id)
