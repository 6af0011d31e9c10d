"""OpenTelemetry for one process: traces and metrics, exported only when an endpoint is set."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased

from svc_runtime.settings import TelemetrySettings


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a process set up, to be closed at its end."""

    close: Callable[[], None]
    """Flush and stop. Blocks up to a few seconds: call it off the event loop."""


def configure_telemetry(
    service: str, settings: TelemetrySettings, *, version: str = "0.1.0", decides_itself: bool = False
) -> Telemetry:
    """Set the global tracer and meter providers of this process.

    Metrics are always readable in Prometheus form; spans exist only where an endpoint is set, so without one tracing
    costs nothing. ``decides_itself``: the process makes a span only where it has decided to sample, so that deciding
    again would sample a share of the share.
    """
    if settings.sdk_disabled:
        return Telemetry(close=lambda: None)
    resource = Resource.create(
        {SERVICE_NAME: service, SERVICE_VERSION: version, SERVICE_INSTANCE_ID: f"{os.uname().nodename}:{os.getpid()}"}
    )
    readers: list[MetricReader] = [PrometheusMetricReader(disable_target_info=False)]
    if settings.exporter_otlp_endpoint or settings.exporter_otlp_metrics_endpoint:
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    meter_provider = MeterProvider(resource=resource, metric_readers=readers)
    metrics.set_meter_provider(meter_provider)
    closers: list[Callable[[], None]] = [meter_provider.shutdown]
    if settings.exports_traces:
        root = ALWAYS_ON if decides_itself else TraceIdRatioBased(settings.sampling_ratio)
        tracer_provider = TracerProvider(resource=resource, sampler=ParentBased(root))
        tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(tracer_provider)
        closers.insert(0, tracer_provider.shutdown)

    def close() -> None:
        for closer in closers:
            closer()

    return Telemetry(close=close)
