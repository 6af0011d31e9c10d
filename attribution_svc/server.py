"""attribution_svc as a process: what it is made of, in the order in which it is made."""

import asyncio
from contextlib import AsyncExitStack

from attribution_svc.campaigns.caps import CapCounts
from attribution_svc.campaigns.overlays import RemoteOverlays
from attribution_svc.campaigns.own_hosts import WardenHosts
from attribution_svc.campaigns.registry import CampaignRegistry
from attribution_svc.campaigns.retroactive import Retroactive
from attribution_svc.campaigns.routing_feed import RoutingFeed
from attribution_svc.campaigns.servicer import AttributionServicer
from attribution_svc.campaigns.versions import CampaignVersions
from attribution_svc.conversions.assembly import keeping_conversions
from attribution_svc.crediting.convert_explain import part_of
from attribution_svc.crediting.explain import ConversionExplainer
from attribution_svc.crediting.journey_stream import JourneyStream
from attribution_svc.crediting.reading import Reading
from attribution_svc.crediting.reports import CreditReports
from attribution_svc.crediting.servicer import ModelServicer
from attribution_svc.crediting.turns import Turns
from attribution_svc.experiments.numbers import RemoteNumbers
from attribution_svc.experiments.reports import ExperimentReports
from attribution_svc.experiments.servicer import ExperimentServicer
from attribution_svc.settings import AttributionSettings
from attribution_svc.store import UsageStore
from attribution_svc.store.postgres import PostgresCampaignStore
from attribution_svc.webhooks.assembly import running_webhooks
from attribution_svc.webhooks.clicks import CapturedClicks
from svc_runtime.clock import SystemClock
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer, wait_for_signal
from svc_runtime.key_validator import RemoteKeyValidator
from svc_runtime.logs import configure_logs, get_logger
from svc_runtime.paging import PageTokens
from svc_runtime.settings import MeshSettings, TelemetrySettings, load_or_exit
from svc_runtime.tasks import keep_running, running
from svc_runtime.tracing import configure_telemetry
from trellis.attribution.v1 import (
    attribution_service_pb2,
    attribution_service_pb2_grpc,
    conversion_service_pb2,
    conversion_service_pb2_grpc,
    experiment_service_pb2,
    experiment_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    webhook_service_pb2,
    webhook_service_pb2_grpc,
)

SERVICE = "attribution_svc"
SERVICE_NAMES = [
    attribution_service_pb2.DESCRIPTOR.services_by_name["AttributionService"].full_name,
    conversion_service_pb2.DESCRIPTOR.services_by_name["ConversionService"].full_name,
    experiment_service_pb2.DESCRIPTOR.services_by_name["ExperimentService"].full_name,
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
    webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"].full_name,
]
_FORGET_SECONDS = 3600.0
_log = get_logger(__name__)


async def main() -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    mesh, telemetry, settings = load_or_exit(AttributionSettings)
    await serve(mesh, telemetry, settings)


async def serve(mesh: MeshSettings, telemetry: TelemetrySettings, settings: AttributionSettings) -> None:
    """Wire everything, listen, and leave in the reverse order at a signal."""
    configure_logs(SERVICE, level=mesh.log_level, format_=mesh.log_format)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, configure_telemetry(SERVICE, telemetry).close)
        store = await stack.enter_async_context(
            PostgresCampaignStore.open(settings.postgres_dsn.get_secret_value(), pool_size=settings.postgres_pool_size)
        )
        feed = RoutingFeed(store)
        await stack.enter_async_context(running("routing feed", feed.run()))
        await stack.enter_async_context(running("forget usage", forget_forever(store.usage)))
        tokens = PageTokens(mesh.mesh_secret.get_secret_value(), SERVICE)
        capture = await stack.enter_async_context(open_channel(mesh, settings.capture_target))
        auth_channel = await stack.enter_async_context(open_channel(mesh, settings.auth_target))
        analytics = await stack.enter_async_context(open_channel(mesh, settings.analytics_target))
        hosts = WardenHosts(auth_channel, Credentials(mesh, SERVICE))
        registry = CampaignRegistry(store, tokens, hosts, clock=SystemClock())
        reading = Reading(analytics, Credentials(mesh, SERVICE))
        validate_key = RemoteKeyValidator(auth_channel, Credentials(mesh, SERVICE))
        server = GrpcServer(mesh, service_names=SERVICE_NAMES, validate_key=validate_key)
        overlays = RemoteOverlays(analytics, Credentials(mesh, SERVICE))
        retroactive = Retroactive(store, overlays)
        await stack.enter_async_context(running("hand claims over", keep_running("hand claims over", retroactive.run)))
        servicer = AttributionServicer(
            registry,
            CampaignVersions(store, tokens, clock=SystemClock()),
            retroactive,
            store.claims,
            overlays,
            feed,
            CapCounts(store.usage, store.conversion_matches),
            reading,
            clock=SystemClock(),
        )
        server.add(lambda s: attribution_service_pb2_grpc.add_AttributionServiceServicer_to_server(servicer, s))
        conversions = await stack.enter_async_context(
            keeping_conversions(
                store,
                capture=capture,
                analytics=analytics,
                credentials=Credentials(mesh, SERVICE),
                page_tokens=tokens,
                clock=SystemClock(),
            )
        )
        server.add(lambda s: conversion_service_pb2_grpc.add_ConversionServiceServicer_to_server(conversions, s))
        journeys = JourneyStream(analytics, Credentials(mesh, SERVICE))
        turns = Turns(settings.credit_reports)
        models = ModelServicer(
            CreditReports(journeys, turns),
            ConversionExplainer(journeys, journeys, turns, part_of=part_of),
            store.model_settings,
            clock=SystemClock(),
        )
        server.add(lambda s: model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, s))
        webhooks = await stack.enter_async_context(
            running_webhooks(
                mesh, settings, store.database, CapturedClicks(capture, Credentials(mesh, SERVICE)), tokens
            )
        )
        server.add(lambda s: webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server(webhooks, s))
        numbers = RemoteNumbers(analytics, Credentials(mesh, SERVICE))
        experiments = ExperimentServicer(ExperimentReports(store, numbers, clock=SystemClock()))
        server.add(lambda s: experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server(experiments, s))
        await server.start(settings.listen)
        stack.push_async_callback(server.stop)
        # Watches never end by themselves: without this every drain would last its whole time.
        stack.callback(feed.close)
        signal = await wait_for_signal()
        _log.info("leaving", signal=signal.name)


async def forget_forever(usage: UsageStore) -> None:
    """Drop counts that are long over, every hour."""
    while True:
        await asyncio.sleep(_FORGET_SECONDS)
        try:
            await usage.forget()
        except UnavailableError as error:
            _log.warning("old counts stay for now", error=error.message)
