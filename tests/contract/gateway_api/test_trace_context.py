from pathlib import Path

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from ingress_gateway.calls import ApiCall
from svc_runtime.settings import TelemetrySettings
from tests.contract.gateway_api.mesh import Mesh, running_mesh
from trellis.attribution.v1 import attribution_service_pb2 as pb

pytestmark = pytest.mark.loopback

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.asyncio(loop_scope="package")
async def test_a_clients_trace_goes_on_in_the_services(mesh: Mesh) -> None:
    traceparent = f"00-{TRACE_ID}-{SPAN_ID}-00"
    await mesh.get("/api/v1/campaigns", headers={"traceparent": traceparent})
    await mesh.get("/api/v1/campaigns", headers={"traceparent": "00-nonsense-00"})
    await mesh.get("/api/v1/campaigns")
    sent = [metadata.get("traceparent") for metadata in mesh.attribution.does.metadata]
    assert sent == [traceparent, None, None]


async def test_only_a_sampled_request_makes_spans_of_its_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    makes_spans = []

    class Stub:
        async def ListCampaigns(self, *_: object, **__: object) -> pb.ListCampaignsResponse:
            makes_spans.append(is_instrumentation_enabled())
            return pb.ListCampaignsResponse()

    monkeypatch.setattr(ApiCall, "attribution", Stub())
    exporting = TelemetrySettings(exporter_otlp_endpoint="http://127.0.0.1:9", traces_sampler_arg=0)
    async with running_mesh(tmp_path, telemetry=exporting) as mesh:
        for headers in (
            {},
            {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"},
            {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"},
        ):
            assert (await mesh.get("/api/v1/campaigns", headers=headers)).status == 200
    assert makes_spans == [False, False, True]


async def test_a_sampled_request_is_sampled_in_the_services_too(tmp_path: Path) -> None:
    exporting = TelemetrySettings(exporter_otlp_endpoint="http://127.0.0.1:9", traces_sampler_arg=0)
    async with running_mesh(tmp_path, telemetry=exporting) as mesh:
        await mesh.get("/api/v1/campaigns", headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"})
        await mesh.get("/api/v1/campaigns", headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})
    sent = [metadata["traceparent"].split("-") for metadata in mesh.attribution.does.metadata]
    assert [(trace_id, flags) for _, trace_id, _, flags in sent] == [(TRACE_ID, "01"), (TRACE_ID, "00")]
