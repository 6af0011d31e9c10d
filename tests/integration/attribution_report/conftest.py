"""analytics_svc's journeys over a reading, and attribution_svc's models before them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pydantic import SecretStr

from analytics_svc.behavior.candidates import ConversionCandidates
from analytics_svc.behavior.exports import JourneyExports
from analytics_svc.servicer.journeys import JourneyServicer
from analytics_svc.store.reader import ClickHouseReadingReader
from attribution_svc.crediting.convert_explain import part_of
from attribution_svc.crediting.explain import ConversionExplainer
from attribution_svc.crediting.journey_stream import JourneyStream
from attribution_svc.crediting.reports import CreditReports
from attribution_svc.crediting.servicer import ModelServicer
from attribution_svc.crediting.turns import Turns
from svc_runtime.clickhouse import Dsn
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from tests.contract.attribution.memory_settings import MemoryModelSettingsStore
from tests.reading import ACME, reading
from trellis.analytics.v1 import journey_service_pb2_grpc
from trellis.attribution.v1 import model_service_pb2 as pb
from trellis.attribution.v1 import model_service_pb2_grpc

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=0)
CREDENTIALS = Credentials(MESH, "test")


class StandingClock:
    """A day after everything."""

    def now(self) -> datetime:
        """Return it."""
        return datetime(2026, 3, 3, 12, tzinfo=UTC)


@dataclass
class Asked:
    """Both services, and what they read."""

    stub: "model_service_pb2_grpc.ModelServiceAsyncStub"

    async def report(self, request: pb.QueryAttributionRequest, organization_id: str = ACME) -> Any:
        """Ask; raise what was answered."""
        caller = Caller(CallerKind.ORGANIZATION, "key:1", organization_id, frozenset({"analytics:read"}))
        try:
            return await self.stub.QueryAttribution(request, metadata=CREDENTIALS.as_caller(caller))
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Dsn, Client]]":
    """Keep an empty reading open."""
    with reading(tmp_path_factory.mktemp("reading")) as found:
        yield found


@pytest.fixture
def client(opened: "tuple[Dsn, Client]") -> "Client":
    """Return a client of an empty reading."""
    opened[1].command("TRUNCATE TABLE events")
    return opened[1]


@pytest.fixture
async def asked(opened: "tuple[Dsn, Client]") -> AsyncIterator[Asked]:
    """Serve both for the time of a test."""
    async with ClickHouseReadingReader.open(opened[0], thread_count=1) as reader:
        analytics, attribution = GrpcServer(MESH, service_names=[]), GrpcServer(MESH, service_names=[])
        journeys = JourneyServicer(JourneyExports(reader), ConversionCandidates(reader), clock=StandingClock())
        analytics.add(lambda s: journey_service_pb2_grpc.add_JourneyServiceServicer_to_server(journeys, s))
        port = await analytics.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as behind:
            stream = JourneyStream(behind, CREDENTIALS)
            turns = Turns(2)
            servicer = ModelServicer(
                CreditReports(stream, turns),
                ConversionExplainer(stream, stream, turns, part_of=part_of),
                MemoryModelSettingsStore(),
                clock=StandingClock(),
            )
            attribution.add(lambda s: model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, s))
            port = await attribution.start("127.0.0.1:0")
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Asked(model_service_pb2_grpc.ModelServiceStub(channel))
        await attribution.stop()
        await analytics.stop()
