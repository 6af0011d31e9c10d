"""Realtime over a real gRPC server: whose numbers, what is refused, and what a caller who leaves lets go of."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
import pytest_asyncio
from pydantic import SecretStr

from analytics_svc.servicer.realtime import RealtimeMethods
from analytics_svc.statement import Rows, Statement
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.errors import Code
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind, MeshTokens
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import analytics_service_pb2, analytics_service_pb2_grpc
from trellis.analytics.v1 import realtime_pb2 as pb

pytestmark = pytest.mark.loopback

SECRET = "m" * 40
NOW = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
assert analytics_service_pb2.DESCRIPTOR.services_by_name  # access rules are looked up there


class Clock:
    def now(self) -> datetime:
        return NOW


class Reader:
    """Each organisation has as many clicks as its name has letters."""

    async def rows(self, statement: Statement) -> Rows:
        name = str(statement.parameters["organization"])
        rows: list[tuple[Any, ...]] = []
        if "rollup_minute" in statement.sql:
            rows = [(int(NOW.timestamp()) - 30, "USD", len(name), 1, Decimal("9.990001"))]
        elif "uniqCombined64If" in statement.sql:
            rows = [(2, 3)]
        else:
            rows = [("source", "facebook", len(name), 1, Decimal("9.99"))]
        return Rows((), rows, 5, 5, 0.001)


class Servicer(RealtimeMethods, analytics_service_pb2_grpc.AnalyticsServiceServicer):  # type: ignore[misc]  # a part
    """The RPCs of realtime alone."""

    def __init__(self, realtime: RealtimeQuestions) -> None:
        self.realtime = realtime


@dataclass
class Service:
    """The server, and what a test moves and looks at."""

    stub: "analytics_service_pb2_grpc.AnalyticsServiceAsyncStub"
    questions: RealtimeQuestions
    watermark_time: datetime = NOW


def as_organization(organization_id: str, *scopes: str) -> tuple[tuple[str, str], ...]:
    caller = Caller(CallerKind.ORGANIZATION, "key:k", organization_id, frozenset(scopes or ("analytics:read",)))
    return (("authorization", f"Bearer {MeshTokens(SECRET).make(caller)}"),)


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    questions = RealtimeQuestions(
        Reader(), clock=Clock(), watermark_time=lambda: running.watermark_time, tick_seconds=0.01
    )
    server = GrpcServer(MeshSettings(mesh_secret=SecretStr(SECRET), drain_seconds=5), service_names=[])
    servicer = Servicer(questions)
    server.add(lambda s: analytics_service_pb2_grpc.add_AnalyticsServiceServicer_to_server(servicer, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        running = Service(analytics_service_pb2_grpc.AnalyticsServiceStub(channel), questions)
        yield running
    questions.close()
    await server.stop()


async def test_an_organisation_sees_its_own_numbers(service: Service) -> None:
    for organization_id in ("org_a", "org_acmecorp"):
        request = pb.GetRealtimeRequest(time_zone="Europe/Berlin")
        answer = await service.stub.GetRealtime(request, metadata=as_organization(organization_id))
        state = answer.realtime
        assert state.clicks_last_hour == state.clicks_today == len(organization_id)
        assert state.clicks_change == pytest.approx((len(organization_id) - 2) * 50)
        assert (state.active_users, state.conversions_today, state.revenue_today_micros) == (3, 1, 9_990_001)
        assert len(state.traffic_timeline) == 60
        assert state.traffic_timeline[0].minute.ToDatetime(UTC) == NOW.replace(second=0)
        assert state.top_today[0].items[0].value == "facebook"
        assert state.update_time.ToDatetime(UTC) == state.info.watermark_time.ToDatetime(UTC) == NOW
        assert (state.info.time_zone, state.info.currency, list(state.info.sources)) == (
            "Europe/Berlin",
            "USD",
            ["minute", "events"],
        )


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.GetRealtimeRequest(time_zone="Mars"), "time_zone"),
        (pb.GetRealtimeRequest(top_limit=101), "top_limit"),
        (pb.GetRealtimeRequest(campaign_id="x" * 257), "campaign_id"),
    ],
)
async def test_a_bad_question_is_refused_by_its_field(
    service: Service, request_: pb.GetRealtimeRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stub.GetRealtime(request_, metadata=as_organization("org_a"))
    error = error_from_rpc(refused.value)
    assert (error.code, [violation.field for violation in error.violations]) == (Code.INVALID_ARGUMENT, [field])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in service.stub.WatchRealtime(
            pb.WatchRealtimeRequest(query=request_), metadata=as_organization("org_a")
        ):
            pass
    assert [violation.field for violation in error_from_rpc(refused.value).violations] == [f"query.{field}"]


async def test_it_needs_the_scope(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stub.GetRealtime(pb.GetRealtimeRequest(), metadata=as_organization("org_a", "traffic:read"))
    assert error_from_rpc(refused.value).code is Code.PERMISSION_DENIED


async def test_a_watch_goes_on_until_its_caller_leaves(service: Service) -> None:
    call = service.stub.WatchRealtime(pb.WatchRealtimeRequest(), metadata=as_organization("org_a"))
    states = aiter(call)
    for second in range(3):
        async with asyncio.timeout(5):
            state = await anext(states)
        assert state.realtime.info.watermark_time.ToDatetime(UTC) == NOW + timedelta(seconds=second)
        service.watermark_time += timedelta(seconds=1)
    assert service.questions.watcher_count == 1
    call.cancel()
    async with asyncio.timeout(5):
        while service.questions.watcher_count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)


async def test_a_service_that_leaves_ends_its_watches(service: Service) -> None:
    call = service.stub.WatchRealtime(pb.WatchRealtimeRequest(), metadata=as_organization("org_a"))
    states = aiter(call)
    await anext(states)
    service.questions.close()
    async with asyncio.timeout(2):
        assert await anext(states, None) is None
    assert await call.code() is grpc.StatusCode.OK
