"""An OTLP receiver that counts: ``python -m tests.bench.spans PORT FILE`` keeps the number of spans in FILE."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class SpanCounter(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count = 0

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Count the spans."""
        for resource in request.resource_spans:
            self._count += sum(len(scope.spans) for scope in resource.scope_spans)
        self._file.write_text(str(self._count))
        return trace_service_pb2.ExportTraceServiceResponse()


class MetricsEater(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Takes metrics."""

    def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: object
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Keep nothing."""
        return metrics_service_pb2.ExportMetricsServiceResponse()


def main() -> None:
    """Serve until killed."""
    file = Path(sys.argv[2])
    file.write_text("0")
    server = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(SpanCounter(file), server)  # type: ignore[no-untyped-call]  # no types there
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsEater(), server)  # type: ignore[no-untyped-call]  # no types there
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
