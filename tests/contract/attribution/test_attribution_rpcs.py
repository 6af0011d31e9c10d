"""The attribution of one visitor over a real port, with analytics_svc's own RPC behind it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest

from attribution_svc.crediting.reading import Reading
from svc_runtime.errors import NotFoundError
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.rpc_status import error_from_rpc
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.rpc import CREDENTIALS, MESH, Replica, caller_of, running_replica
from trellis.analytics.v1 import analytics_service_pb2_grpc as analytics_grpc
from trellis.analytics.v1 import behavior_pb2
from trellis.attribution.v1 import attribution_service_pb2 as pb

pytestmark = pytest.mark.loopback
ASKED = pb.AttributeJourneyRequest(user_id="usr_customer123", model="linear")


class FakeAnalytics(analytics_grpc.AnalyticsServiceServicer):
    """Has one journey, of org_a."""

    def __init__(self) -> None:
        self.requests: list[behavior_pb2.ListJourneysRequest] = []

    async def ListJourneys(
        self, request: behavior_pb2.ListJourneysRequest, context: ServicerContext
    ) -> behavior_pb2.ListJourneysResponse:
        """Return it."""
        self.requests.append(request)
        if current_caller().organization_id != "org_a" or request.user_id not in ("usr_customer123", ""):
            raise NotFoundError("no such visitor")
        answer = behavior_pb2.ListJourneysResponse()
        answer.info.watermark_time.FromJsonString("2024-06-06T00:00:00Z")
        journey = answer.journeys.add(user_id="usr_customer123")
        for index, (time, source, kind) in enumerate(
            [
                ("2024-06-01T10:15:00Z", "facebook", "click"),
                ("2024-06-03T14:22:00Z", "google", "click"),
                ("2024-06-05T19:55:00Z", "", "purchase"),
            ]
        ):
            touch = journey.touches.add(event_id=f"e{index}", source=source, event_type=kind)
            touch.event_time.FromJsonString(time)
            if kind == "purchase":
                touch.is_conversion = True
                touch.value.amount_micros, touch.value.currency = 149_990_000, "USD"
        return answer


@pytest.fixture
def analytics() -> FakeAnalytics:
    """What it was asked is kept."""
    return FakeAnalytics()


@pytest.fixture
async def replica(analytics: FakeAnalytics) -> AsyncIterator[Replica]:
    """attribution_svc, with an analytics_svc."""
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: analytics_grpc.add_AnalyticsServiceServicer_to_server(analytics, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        reading = Reading(channel, CREDENTIALS)
        async with running_replica(MemoryCampaignStore(), visitors=reading) as running:
            yield running
    await server.stop()


def asked(**fields: object) -> pb.AttributeJourneyRequest:
    request = pb.AttributeJourneyRequest(**fields)  # type: ignore[arg-type]  # its fields
    request.time_range.end_time.FromJsonString("2024-06-07T00:00:00Z")
    return request


async def test_the_credits_of_a_visitor_add_up(replica: Replica, analytics: FakeAnalytics) -> None:
    request = asked(user_id="usr_customer123", model="linear")
    answer = await replica.stub.AttributeJourney(request, metadata=caller_of("org_a", "analytics:read"))
    assert (answer.user_id, answer.model, answer.currency, answer.total_micros) == (
        "usr_customer123",
        "linear",
        "USD",
        149_990_000,
    )
    assert [(point.source, point.value_micros) for point in answer.touchpoints] == [
        ("facebook", 75_000_000),
        ("google", 74_990_000),
    ]
    assert answer.watermark_time.ToDatetime(UTC) == datetime(2024, 6, 6, tzinfo=UTC)
    (journey,) = analytics.requests
    # 90 days of conversions, and 30 more of touches.
    assert journey.slice.time_range.start_time.ToDatetime(UTC) == datetime(2024, 2, 8, tzinfo=UTC)


async def test_another_organisations_visitor_is_missing(replica: Replica) -> None:
    request = asked(user_id="usr_customer123")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await replica.stub.AttributeJourney(request, metadata=caller_of("org_b", "analytics:read"))
    assert error_from_rpc(caught.value).reason == "NOT_FOUND"


async def test_who_may_not_read_reports_may_not_read_credits(replica: Replica) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await replica.stub.AttributeJourney(asked(user_id="x"), metadata=caller_of("org_a", "campaigns:read"))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (asked(), ["user_id"]),
        (asked(user_id="a", click_id="b"), ["user_id"]),
        (asked(user_id="a", model="markov"), ["model"]),
        (asked(user_id="a", model="nope", currency="XXQ"), ["currency", "model"]),
        (asked(user_id="a", model="time_decay", parameters={"half_life_days": 0}), ["parameters.half_life_days"]),
        (asked(user_id="a", model="linear", parameters={"half_life_days": 7}), ["parameters.half_life_days"]),
    ],
)
async def test_what_is_wrong_is_named(
    replica: Replica, request_: pb.AttributeJourneyRequest, fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await replica.stub.AttributeJourney(request_, metadata=caller_of("org_a", "analytics:read"))
    assert [violation.field for violation in error_from_rpc(caught.value).violations] == fields
