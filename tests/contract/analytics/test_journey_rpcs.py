"""What JourneyService refuses, and how it says it. Nothing of it reaches the store."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from pydantic import SecretStr

from analytics_svc.behavior.candidates import ConversionCandidates
from analytics_svc.behavior.exports import JourneyExports
from analytics_svc.servicer.journeys import JourneyServicer
from analytics_svc.statement import Rows, Statement
from svc_runtime.clock import SystemClock
from svc_runtime.errors import TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import journey_service_pb2 as pb
from trellis.analytics.v1 import journey_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback
MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=0)
DAY = "86400s"


def caller(scope: str = "analytics:read") -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call."""
    return Credentials(MESH, "test").as_caller(Caller(CallerKind.ORGANIZATION, "key:1", "org_a", frozenset({scope})))


class NoReader:
    """Is not asked."""

    async def rows(self, statement: Statement) -> Rows:
        """Fail."""
        raise AssertionError(statement.sql)


@pytest.fixture
async def stub() -> AsyncIterator[Any]:
    """Serve for the time of a test."""
    servicer = JourneyServicer(JourneyExports(NoReader()), ConversionCandidates(NoReader()), clock=SystemClock())
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_JourneyServiceServicer_to_server(servicer, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.JourneyServiceStub(channel)
    await server.stop()


async def refusal(calls: Any) -> TrellisError:
    """Return what a stream raised."""
    try:
        async for _ in calls:
            pass
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error)
    raise AssertionError("it was answered")


@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        ({}, ["dimension"]),
        ({"dimension": "shoe_size", "touchLimit": 1001}, ["dimension", "touch_limit"]),
        ({"dimension": "source", "conversionTypes": ["sale"] * 101}, ["conversion_types"]),
        ({"dimension": "source", "lookbacks": [{"lookback": "0s"}]}, ["lookbacks[0].lookback"]),
        ({"dimension": "source", "lookbacks": [{"lookback": "315360001s"}]}, ["lookbacks[0].lookback"]),
        ({"dimension": "source", "lookbacks": [{"lookback": DAY}, {}]}, ["lookbacks[1].conversion_type"]),
        ({"dimension": "source", "lookbacks": [{}] * 102}, ["lookbacks"]),
        ({"dimension": "source", "slice": {"timeZone": "Mars/Olympus"}}, ["slice.time_zone"]),
    ],
)
async def test_everything_that_is_wrong_with_a_scope_is_named(
    stub: Any, scope: dict[str, Any], fields: list[str]
) -> None:
    message = json_format.ParseDict(scope, pb.JourneyScope())
    for calls in (
        stub.ExportJourneys(pb.ExportJourneysRequest(scope=message), metadata=caller()),
        stub.ExportPaths(pb.ExportPathsRequest(scope=message), metadata=caller()),
    ):
        assert [violation.field for violation in (await refusal(calls)).violations] == fields


async def test_journeys_need_the_scope_of_reports(stub: Any) -> None:
    for calls in (
        stub.ExportJourneys(pb.ExportJourneysRequest(), metadata=caller("campaigns:read")),
        stub.ExportPaths(pb.ExportPathsRequest(), metadata=caller("campaigns:read")),
    ):
        assert (await refusal(calls)).reason == "SCOPE_MISSING"


@pytest.mark.parametrize("event_id", ["", "nonsense", "0197e3f2-7a70-7d1c-8a53", "x" * 100])
async def test_what_is_no_id_of_an_event_is_no_conversion_and_asks_nobody(stub: Any, event_id: str) -> None:
    request = pb.GetConversionCandidatesRequest(event_id=event_id)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetConversionCandidates(request, metadata=caller())
    error = error_from_rpc(caught.value)
    assert (error.reason, error.message) == ("NOT_FOUND", f"no conversion {event_id[:64]!r}")
