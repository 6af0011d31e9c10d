"""LinkService over a real gRPC server: who may ask, what is refused, and what an answer looks like."""

from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from analytics_svc.linking.questions import LinkQuestions
from analytics_svc.servicer.links import LinkServicer
from analytics_svc.statement import Rows, Statement
from svc_runtime.errors import Code
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.timestamps import timestamp_of
from tests.contract.analytics.fake_capture import MESH
from trellis.analytics.v1 import link_service_pb2 as pb
from trellis.analytics.v1 import link_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback
NOON = datetime(2026, 3, 2, 12, 0, 0, 123000, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
SALE, CLICK = "0195a3c0-0000-7000-8000-000000000001", "0195a3c0-0000-7000-8000-000000000002"
_credentials = Credentials(MESH, "test")
SERVICE = _credentials.as_service()
MEMBER = _credentials.as_caller(
    Caller(CallerKind.ORGANIZATION, "key:k", "org_a", frozenset({"analytics:read", "conversions:read"}))
)


class Reader:
    """Has a click and a conversion that goes back to it."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    async def rows(self, statement: Statement) -> Rows:
        self.statements.append(statement)
        click = ("org_a", CLICK, NOON_MS, "k1", "x1", "cmp_1", 2, "r1", "d1", "u1", "s1", "facebook", "cpc", "paid",
                 "cmp_0", 1, "r0", "00000000-0000-0000-0000-000000000000", None)  # fmt: skip
        sale = ("org_a", SALE, NOON_MS, "", "", "cmp_1", 2, "r1", "d1", "u1", "s1", "facebook", "cpc", "paid",
                "cmp_0", 1, "r0", CLICK, NOON_MS)  # fmt: skip
        if "events" in statement.parameters:
            wanted = statement.parameters["events"]
            assert isinstance(wanted, list)
            return Rows((), [row for row in (sale, click) if row[1] in wanted], 1, 1, 0.001)
        if "ids" in statement.parameters:
            wanted = statement.parameters["ids"]
            assert isinstance(wanted, list)
            return Rows((), [("x1", *click)] if "x1" in wanted else [], 1, 1, 0.001)
        return Rows((), [], 1, 1, 0.001)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest_asyncio.fixture
async def stub(reader: Reader) -> "AsyncIterator[pb_grpc.LinkServiceAsyncStub]":
    class Clock:
        def now(self) -> datetime:
            return NOON

    links = LinkQuestions(reader, clock=Clock(), watermark_time=lambda: NOON, window=timedelta(days=90))
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_LinkServiceServicer_to_server(LinkServicer(links), s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.LinkServiceStub(channel)
    await server.stop()


def event(event_id: str, organization_id: str = "org_a") -> pb.EventKey:
    return pb.EventKey(organization_id=organization_id, event_id=event_id, event_time=timestamp_of(NOON))


async def test_touches_come_in_the_order_of_the_question(stub: "pb_grpc.LinkServiceAsyncStub") -> None:
    other = "0195a3c0-0000-7000-8000-000000000009"
    answer = await stub.GetTouches(
        pb.GetTouchesRequest(events=[event(other), event(SALE.upper()), event(SALE)]), metadata=SERVICE
    )
    assert answer.watermark_time.ToDatetime(UTC) == NOON
    missing, found, again = answer.events
    assert missing == pb.LinkedEvent(event_id=other)
    assert found == again
    assert (found.event_id, found.is_read, found.campaign_id, found.channel) == (SALE, True, "cmp_1", "paid")
    routed = found.routed_campaign_id, found.routed_campaign_version, found.routed_rule_id
    assert routed == ("cmp_0", 1, "r0")
    assert found.touch == pb.Click(
        event_id=CLICK, event_time=timestamp_of(NOON), click_id="k1", external_click_id="x1", campaign_id="cmp_1"
    )


async def test_found_clicks_come_in_the_order_of_the_question(stub: "pb_grpc.LinkServiceAsyncStub") -> None:
    asked = [pb.Reference(organization_id="org_a", reference=one) for one in ("nothing", "x1", "%781")]
    answer = await stub.FindClicks(pb.FindClicksRequest(references=asked), metadata=SERVICE)
    kinds = [[match.kind for match in one.matches] for one in answer.found]
    assert kinds == [[], [pb.CLICK_MATCH_KIND_EXACT], [pb.CLICK_MATCH_KIND_ENCODED]]
    assert answer.found[2].matches[0].matched_id == "x1"
    assert answer.found[2].matches[0].click.event_id == CLICK


async def test_nothing_asked_is_nothing_read(stub: "pb_grpc.LinkServiceAsyncStub", reader: Reader) -> None:
    assert not (await stub.GetTouches(pb.GetTouchesRequest(), metadata=SERVICE)).events
    assert not (await stub.FindClicks(pb.FindClicksRequest(), metadata=SERVICE)).found
    assert reader.statements == []


async def test_an_organisation_may_not_ask(stub: "pb_grpc.LinkServiceAsyncStub") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as touches:
        await stub.GetTouches(pb.GetTouchesRequest(events=[event(SALE)]), metadata=MEMBER)
    with pytest.raises(grpc.aio.AioRpcError) as clicks:
        await stub.FindClicks(pb.FindClicksRequest(), metadata=MEMBER)
    for refused in (touches, clicks):
        assert error_from_rpc(refused.value).code is Code.PERMISSION_DENIED


async def test_everything_that_is_wrong_with_a_question_is_named(stub: "pb_grpc.LinkServiceAsyncStub") -> None:
    bad = pb.EventKey(event_id="no-uuid", event_time=Timestamp(seconds=10**15))
    questions: list[tuple[Awaitable[object], list[str]]] = [
        (stub.GetTouches(pb.GetTouchesRequest(events=[event(SALE), bad]), metadata=SERVICE),
         ["events[1].organization_id", "events[1].event_id", "events[1].event_time"]),
        (stub.GetTouches(pb.GetTouchesRequest(events=[pb.EventKey(organization_id="o", event_id=SALE)]),
                         metadata=SERVICE), ["events[0].event_time"]),
        (stub.GetTouches(pb.GetTouchesRequest(events=[event(SALE)] * 1001), metadata=SERVICE), ["events"]),
        (stub.FindClicks(pb.FindClicksRequest(references=[pb.Reference(reference="x" * 513)]), metadata=SERVICE),
         ["references[0].organization_id", "references[0].reference"]),
        (stub.FindClicks(pb.FindClicksRequest(references=[pb.Reference()] * 201), metadata=SERVICE), ["references"]),
    ]  # fmt: skip
    for call, fields in questions:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        error = error_from_rpc(refused.value)
        assert error.code is Code.INVALID_ARGUMENT
        assert [violation.field for violation in error.violations] == fields
