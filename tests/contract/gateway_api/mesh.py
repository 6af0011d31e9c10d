"""A real gateway on a real port, before fake services on real ports."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDict
from pydantic import SecretStr
from yarl import URL

from attribution_svc.crediting.convert_explain import part_of
from attribution_svc.crediting.explain import ConversionExplainer
from attribution_svc.crediting.reports import CreditReports
from attribution_svc.crediting.servicer import ModelServicer
from attribution_svc.crediting.turns import Turns
from ingress_gateway.gateway import Gateway
from ingress_gateway.openapi.document import openapi_document
from ingress_gateway.server import build, serve
from ingress_gateway.settings import GatewaySettings
from svc_runtime.clock import SystemClock
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.settings import MeshSettings, TelemetrySettings
from tests.contract.attribution.memory_settings import MemoryModelSettingsStore
from tests.contract.gateway_api.description import Description
from tests.contract.gateway_api.fake_analytics import FakeAnalytics
from tests.contract.gateway_api.fake_conversions import FakeConversions
from tests.contract.gateway_api.fake_experiments import FakeExperiments
from tests.contract.gateway_api.fake_explain import FakeExplain
from tests.contract.gateway_api.fake_identity import FakeIdentity
from tests.contract.gateway_api.fake_journeys import FakeJourneys
from tests.contract.gateway_api.fake_overlay import FakeOverlay
from tests.contract.gateway_api.fake_partners import FakePartners
from tests.contract.gateway_api.fake_projection import FakeProjection
from tests.contract.gateway_api.fake_webhooks import FakeWebhooks
from tests.contract.gateway_api.fakes import (
    ACME,
    HOST,
    OTHER,
    PEPPER,
    SECRET_KEY,
    FakeAttribution,
    FakeCapture,
    FakeWarden,
)
from trellis.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from trellis.analytics.v1.explain_service_pb2_grpc import add_ExplainServiceServicer_to_server
from trellis.analytics.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from trellis.analytics.v1.overlay_service_pb2_grpc import add_OverlayServiceServicer_to_server
from trellis.analytics.v1.projection_service_pb2_grpc import add_ProjectionServiceServicer_to_server
from trellis.attribution.v1.attribution_service_pb2_grpc import add_AttributionServiceServicer_to_server
from trellis.attribution.v1.conversion_service_pb2_grpc import add_ConversionServiceServicer_to_server
from trellis.attribution.v1.experiment_service_pb2_grpc import add_ExperimentServiceServicer_to_server
from trellis.attribution.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from trellis.attribution.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from trellis.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from trellis.auth.v1.partner_service_pb2_grpc import add_PartnerServiceServicer_to_server
from trellis.capture.v1.capture_service_pb2_grpc import add_CaptureServiceServicer_to_server

MESH = MeshSettings(mesh_secret=SecretStr("m" * 40), drain_seconds=0)
QUIET = TelemetrySettings(sdk_disabled=True)
DESCRIPTION = Description(openapi_document())


@dataclass(frozen=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: "CIMultiDict[str]"
    body: bytes

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return orjson.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.headers
        reason: str = self.json["reason"]
        return reason

    @property
    def violations(self) -> dict[str, str]:
        """What was wrong, by field."""
        return {violation["field"]: violation["description"] for violation in self.json["violations"]}


@dataclass
class Mesh:
    """The gateway, what stands behind it, and a client that compares every answer with the document."""

    url: str
    session: aiohttp.ClientSession
    gateway: Gateway
    attribution: FakeAttribution
    warden: FakeWarden
    capture: FakeCapture
    projection: FakeProjection
    analytics: FakeAnalytics
    journeys: FakeJourneys
    explanations: FakeExplain
    identity: FakeIdentity
    servers: dict[str, GrpcServer]
    conversions: FakeConversions
    partners: FakePartners
    overlay: FakeOverlay
    experiments: FakeExperiments
    webhooks: FakeWebhooks

    async def until_shipped(self) -> None:
        """Wait until no event is on its way to capture_svc."""
        async with asyncio.timeout(10):
            while self.gateway.journal.backlog.event_count:  # noqa: ASYNC110 - the journal tells nobody
                await asyncio.sleep(0.005)

    async def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = SECRET_KEY,
        json: Any = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request whose target is ``path`` as it stands."""
        sent = {**(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if json is not None:
            body = orjson.dumps(json)
        async with self.session.request(
            method, URL(self.url + path, encoded=True), data=body, headers=sent, allow_redirects=False
        ) as response:
            answer = Answer(response.status, CIMultiDict(response.headers), await response.read())
        if not path.startswith("/nothing"):
            DESCRIPTION.check(method, path.partition("?")[0], answer.status, answer.headers, answer.body)
        return answer

    async def get(self, path: str, **more: Any) -> Answer:
        """Send a GET."""
        return await self.call("GET", path, **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        """Send a POST."""
        return await self.call("POST", path, json=json, **more)

    async def put(self, path: str, json: Any = None, **more: Any) -> Answer:
        """Send a PUT."""
        return await self.call("PUT", path, json=json, **more)

    async def patch(self, path: str, json: Any = None, **more: Any) -> Answer:
        """Send a PATCH."""
        return await self.call("PATCH", path, json=json, **more)


@contextlib.asynccontextmanager
async def running_mesh(
    directory: Path, *, telemetry: TelemetrySettings = QUIET, reading: Any = None, **settings: Any
) -> AsyncIterator[Mesh]:
    """Run a gateway on ``directory`` and the services behind it; ``reading`` is an AnalyticsService that is no fake."""
    attribution, warden, capture = FakeAttribution(), FakeWarden(), FakeCapture()
    projection, analytics, conversions = FakeProjection(), FakeAnalytics(), FakeConversions()
    journeys, partners, identity = FakeJourneys(), FakePartners(), FakeIdentity()
    explanations = FakeExplain()
    overlay, experiments = FakeOverlay(), FakeExperiments(attribution)
    webhooks = FakeWebhooks()
    furnish(attribution, warden, capture, projection, analytics, identity)

    turns = Turns(2)
    models = ModelServicer(
        CreditReports(journeys, turns),
        ConversionExplainer(journeys, journeys, turns, part_of=part_of),
        MemoryModelSettingsStore(),
        clock=SystemClock(),
    )

    def serve_attribution(server: Any) -> None:
        add_AttributionServiceServicer_to_server(attribution, server)
        add_ExperimentServiceServicer_to_server(experiments, server)
        add_ConversionServiceServicer_to_server(conversions, server)
        add_WebhookServiceServicer_to_server(webhooks, server)
        add_ModelServiceServicer_to_server(models, server)

    def serve_warden(server: Any) -> None:
        add_AuthServiceServicer_to_server(warden, server)
        add_PartnerServiceServicer_to_server(partners, server)

    def serve_reading(server: Any) -> None:
        add_ProjectionServiceServicer_to_server(projection, server)
        add_OverlayServiceServicer_to_server(overlay, server)
        add_AnalyticsServiceServicer_to_server(reading or analytics, server)
        add_ExplainServiceServicer_to_server(explanations, server)
        add_IdentityServiceServicer_to_server(identity, server)

    async with contextlib.AsyncExitStack() as stack:
        servers = {
            "auth": await _serving(stack, serve_warden),
            "attribution": await _serving(stack, serve_attribution),
            "capture": await _serving(stack, lambda s: add_CaptureServiceServicer_to_server(capture, s)),
            "analytics": await _serving(stack, serve_reading),
        }
        targets = {f"{name}_target": f"127.0.0.1:{port}" for name, (_, port) in servers.items()}
        stack.enter_context(_interpreter_as_it_was())
        own = {"data_dir": directory, "http_port": 0, "key_pepper": SecretStr(PEPPER), "batch_ms": 10}
        gateway = await build(MESH, telemetry, GatewaySettings(**{**targets, **own, **settings}), stack)
        host, port = await serve(gateway, stack)
        await _until_known(gateway)
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        behind = {name: server for name, (server, _) in servers.items()}
        yield Mesh(
            f"http://{host}:{port}",
            session,
            gateway,
            attribution,
            warden,
            capture,
            projection,
            analytics,
            journeys,
            explanations,
            identity,
            behind,
            conversions,
            partners,
            overlay,
            experiments,
            webhooks,
        )


def furnish(
    attribution: FakeAttribution,
    warden: FakeWarden,
    capture: FakeCapture,
    projection: FakeProjection,
    analytics: FakeAnalytics,
    identity: FakeIdentity,
) -> None:
    """Begin with the campaigns `summer_sale` and `theirs`, and a host of each organisation."""
    attribution.__init__()  # type: ignore[misc]  # as new
    warden.__init__()  # type: ignore[misc]  # as new
    capture.__init__()  # type: ignore[misc]  # as new
    projection.__init__()  # type: ignore[misc]  # as new
    analytics.__init__()  # type: ignore[misc]  # as new
    identity.__init__()  # type: ignore[misc]  # as new
    attribution.put(ACME, "summer_sale")
    attribution.put(OTHER, "theirs")
    warden.domains = {HOST: ACME, "track.other.example": OTHER}


async def _serving(stack: contextlib.AsyncExitStack, register: Any) -> tuple[GrpcServer, int]:
    server = GrpcServer(MESH, service_names=["trellis.capture.v1.CaptureService"])
    server.add(register)
    port = await server.start("127.0.0.1:0")
    stack.push_async_callback(server.stop)
    return server, port


@contextlib.contextmanager
def _interpreter_as_it_was() -> Iterator[None]:
    """A worker tunes its process; the tests share theirs."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()
    gc.set_threshold(*threshold)


async def _until_known(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        while not (  # noqa: ASYNC110 - three parts of the product, none of which tells by an event
            gateway.organisations.is_ready and gateway.routing.is_ready and gateway.shipper.is_connected
        ):
            await asyncio.sleep(0.005)
