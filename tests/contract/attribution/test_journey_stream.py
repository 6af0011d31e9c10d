"""Journeys over a real port: what attribution_svc makes of streams that are whole, cut and refused."""

from collections.abc import AsyncIterator

import grpc
import pytest

from attribution_svc.crediting.journey_stream import JourneyStream
from attribution_svc.crediting.report import JourneyScope, ReportQuestion, Summary
from attribution_svc.crediting.reports import CreditReports, JourneyChunk
from attribution_svc.crediting.settings import TypedLookback, asked_model
from attribution_svc.crediting.turns import Turns
from attribution_svc.models.touch import Lookback
from svc_runtime.errors import NotFoundError, QueryLimitError, TrellisError, UnavailableError
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.mesh_token import Caller, CallerKind
from tests.contract.attribution.rpc import CREDENTIALS, MESH
from trellis.analytics.v1 import journey_service_pb2 as pb
from trellis.analytics.v1 import journey_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback
SCOPE = JourneyScope(b"", "source", ("sale",), (TypedLookback("", Lookback(None, is_same_session=True)),))
CALLER = Caller(CallerKind.ORGANIZATION, "key:1", "org_a", frozenset({"analytics:read"}))
CHUNK = pb.JourneyChunk(
    values=["b", "a"],
    value_micros=[7, -3],
    touch_counts=[2, 0],
    touch_values=[1, 0],
    touch_ages_ms=[9, 2],
    touch_is_direct=[False, True],
    conversion_counts=[1, 0],
)


class FakeJourneyService(pb_grpc.JourneyServiceServicer):
    """Streams one chunk, whole or cut."""

    def __init__(self) -> None:
        self.is_cut = False
        self.error: TrellisError | None = None
        self.asked = pb.JourneyScope()
        self.organization_id = ""

    async def ExportJourneys(
        self, request: pb.ExportJourneysRequest, context: ServicerContext
    ) -> AsyncIterator[pb.ExportJourneysResponse]:
        self.asked, self.organization_id = request.scope, current_caller().organization_id
        yield pb.ExportJourneysResponse(chunk=CHUNK)
        if self.error:
            raise self.error
        if not self.is_cut:
            yield pb.ExportJourneysResponse(summary=pb.JourneySummary(anonymous_conversion_count=2))

    async def ExportPaths(
        self, request: pb.ExportPathsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.ExportPathsResponse]:
        counts = {"conversion_counts": [4, 0], "unconverted_counts": [0, 5], "value_micros": [6, 0]}
        yield pb.ExportPathsResponse(
            chunk=pb.PathChunk(values=["a"], touch_counts=[0, 2], touch_values=[0, 0], **counts)
        )
        if not self.is_cut:
            yield pb.ExportPathsResponse(summary=pb.JourneySummary())

    async def GetConversionCandidates(
        self, request: pb.GetConversionCandidatesRequest, context: ServicerContext
    ) -> pb.GetConversionCandidatesResponse:
        raise NotFoundError("no conversion")


@pytest.fixture
def service() -> FakeJourneyService:
    """What analytics_svc does."""
    return FakeJourneyService()


@pytest.fixture
async def stream(service: FakeJourneyService) -> AsyncIterator[JourneyStream]:
    """Ask it."""
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_JourneyServiceServicer_to_server(service, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield JourneyStream(channel, CREDENTIALS)
    await server.stop()


async def test_columns_come_as_they_were_sent_in_the_name_of_the_caller(
    stream: JourneyStream, service: FakeJourneyService
) -> None:
    chunk, summary = [part async for part in stream.journeys(CALLER, SCOPE)]
    assert isinstance(chunk, JourneyChunk)
    assert isinstance(summary, Summary)
    assert (list(chunk.values), chunk.columns.micros.tolist()) == (["b", "a"], [7, -3])
    assert (chunk.columns.channels.tolist(), chunk.columns.conversions.tolist()) == ([1, 0], [1, 0])
    assert summary.anonymous_count == 2
    assert (service.organization_id, service.asked.dimension) == ("org_a", "source")
    (rule,) = service.asked.lookbacks
    assert (rule.HasField("lookback"), rule.is_same_session) == (False, True)


async def test_paths_come_with_their_channels_named(stream: JourneyStream) -> None:
    paths, _ = [part async for part in stream.paths(CALLER, SCOPE)]
    assert isinstance(paths, list)
    assert [(path.channels, path.conversions, path.nulls, path.value_micros) for path in paths] == [
        ((), 4, 0, 6),
        (("a", "a"), 0, 5, 0),
    ]


async def test_a_stream_without_its_last_message_is_not_taken_for_whole(
    stream: JourneyStream, service: FakeJourneyService
) -> None:
    service.is_cut = True
    for parts in (stream.journeys(CALLER, SCOPE), stream.paths(CALLER, SCOPE)):
        with pytest.raises(UnavailableError, match="cut"):
            async for _ in parts:
                pass


async def test_what_analytics_svc_says_in_the_middle_is_what_a_report_says(
    stream: JourneyStream, service: FakeJourneyService
) -> None:
    service.error = QueryLimitError("the query ran longer than 30 s")
    with pytest.raises(TrellisError, match="longer than 30 s") as caught:
        await CreditReports(stream, Turns(1)).report(CALLER, ReportQuestion(SCOPE, (asked_model("linear"),), 10))
    assert caught.value.reason == "QUERY_LIMIT"


async def test_who_may_not_read_journeys_gets_none(stream: JourneyStream) -> None:
    stranger = Caller(CallerKind.ORGANIZATION, "key:2", "org_a", frozenset({"campaigns:read"}))
    with pytest.raises(TrellisError, match="analytics:read"):
        async for _ in stream.journeys(stranger, SCOPE):
            pass
    with pytest.raises(TrellisError) as caught:
        await stream.candidates(CALLER, "e1", "source")
    assert caught.value.code is NotFoundError.code
