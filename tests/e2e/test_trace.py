"""A sampled click is one trace from the gateway to the insert, in an OTLP receiver of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.mesh.mesh import LINK, Mesh
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(180)]

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps spans, with the service that sent each."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []

    async def Export(self, request, context):
        """Take spans, or metrics, which nobody asks for here."""
        if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest):
            return metrics_service_pb2.ExportMetricsServiceResponse()
        for resource in request.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.spans += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of_trace(self, trace_id: str) -> dict[str, Span]:
        """Return the spans of a trace by service and name."""
        return {f"{service}: {span.name}": span for service, span in self.spans if span.trace_id.hex() == trace_id}


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    server, receiver = grpc.aio.server(), Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield receiver, f"http://127.0.0.1:{port}"
    await server.stop(None)


async def test_a_sampled_click_is_one_trace_from_the_gateway_to_the_insert(
    receiver: tuple[Receiver, str], tmp_path: Path
) -> None:
    received, endpoint = receiver
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        # Nothing is sampled by chance: what the receiver gets, a traceparent asked for.
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    mesh = await Mesh.plan(tmp_path / "mesh", environment=environment)
    try:
        await mesh.start()
        await mesh.wait_ready()
        await mesh.seed()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{mesh.http_port}") as http:
            for traceparent in (f"00-{TRACE_ID}-{PARENT_ID}-01", f"00-{'a' * 32}-{PARENT_ID}-00"):
                async with http.get(
                    f"{LINK}?n=1", headers={"Host": demo.HOST, "traceparent": traceparent}, allow_redirects=False
                ) as answer:
                    assert answer.status == 302
                    event_id = answer.headers["X-Trellis-Event-Id"]
        spans = await _spans(received, TRACE_ID, {"ingress_gateway: GET /in/{slug}", "capture_svc: capture.insert"})
        click = spans["ingress_gateway: GET /in/{slug}"]
        insert = spans["capture_svc: capture.insert"]
        assert click.parent_span_id.hex() == PARENT_ID
        assert insert.parent_span_id == click.span_id
        assert received.of_trace("a" * 32) == {}, "an unsampled click makes no span"
        assert await _trace_id_of(mesh, event_id) == "a" * 32, "the event keeps its trace id also when unsampled"
    finally:
        mesh.stop()


async def _spans(received: Receiver, trace_id: str, wanted: set[str]) -> dict[str, Span]:
    deadline = asyncio.get_running_loop().time() + 30
    while not wanted <= received.of_trace(trace_id).keys():
        found = [f"{service}: {span.name}" for service, span in received.spans]
        assert asyncio.get_running_loop().time() < deadline, f"no {wanted} within 30 s, but {found}"
        await asyncio.sleep(0.1)
    return received.of_trace(trace_id)


async def _trace_id_of(mesh: Mesh, event_id: str) -> str:
    """Read the event back over HTTP; it is there within 2 s."""
    headers = {"Authorization": f"Bearer {demo.SECRET_KEY}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{mesh.http_port}", headers=headers) as http:
        for _ in range(20):
            async with http.get(f"/api/v1/events/{event_id}") as answer:
                if answer.status == 200:
                    return (await answer.json())["trace_id"]
            await asyncio.sleep(0.1)
    raise AssertionError("the event is not there after 2 s")
