"""What the RPCs of behaviour refuse, and how they say it. Nothing of it reaches the store."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from pydantic import SecretStr

from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.cache import Results
from analytics_svc.servicer.behavior import BehaviorMethods
from analytics_svc.statement import ORGANIZATION, Rows, Statement
from analytics_svc.store.cache_memory import MemoryResultCache
from svc_runtime.clock import SystemClock
from svc_runtime.errors import TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import behavior_pb2 as pb

pytestmark = pytest.mark.loopback

MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=0)
CALLER = Credentials(MESH, "test").as_caller(
    Caller(CallerKind.ORGANIZATION, "key:1", "org_a", frozenset({"analytics:read"}))
)
CLICK = {"condition": {"field": "event_type", "operator": "OPERATOR_EQUALS", "values": ["click"]}}
REQUESTS: dict[str, Any] = {
    "QueryFunnel": pb.QueryFunnelRequest,
    "QueryRetention": pb.QueryRetentionRequest,
    "ListJourneys": pb.ListJourneysRequest,
    "QueryPaths": pb.QueryPathsRequest,
}


class EmptyReader:
    """Finds nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    async def rows(self, statement: Statement) -> Rows:
        """Return no rows."""
        self.statements.append(statement)
        return Rows((), [], 0, 0, 0.0)


class BehaviorServicer(BehaviorMethods, pb_grpc.AnalyticsServiceServicer):  # type: ignore[misc]  # the rest is others'
    """The RPCs of behaviour alone."""

    def __init__(self, behavior: BehaviorQuestions) -> None:
        self.behavior = behavior
        self.clock = SystemClock()
        self.page_tokens = PageTokens("m" * 32, "analytics_svc")


class Service:
    """A running service over nothing."""

    def __init__(self, reader: EmptyReader, stub: Any) -> None:
        self.reader = reader
        self._stub = stub

    async def ask(self, method: str, question: dict[str, Any]) -> Any:
        """Ask in the contract's JSON form; raise what was answered."""
        request = json_format.ParseDict(question, REQUESTS[method]())
        try:
            return await getattr(self._stub, method)(request, metadata=CALLER)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Serve for the time of a test."""
    reader = EmptyReader()
    servicer = BehaviorServicer(BehaviorQuestions(reader, Results(MemoryResultCache()), clock=SystemClock()))
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_AnalyticsServiceServicer_to_server(servicer, s))
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Service(reader, pb_grpc.AnalyticsServiceStub(channel))
    finally:
        await server.stop()


STEP = {"predicate": CLICK}
FUNNEL: dict[str, Any] = {"steps": [STEP]}
BRACKET = "RETENTION_KIND_BRACKET"
EVERY = {"timeRange": {"startTime": "2020-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}}
WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("QueryFunnel", {}, ["steps"]),
    ("QueryFunnel", {"steps": [STEP] * 33}, ["steps"]),
    ("QueryFunnel", {"steps": [STEP, {"name": "nothing"}]}, ["steps[1].predicate"]),
    (
        "QueryFunnel",
        {"steps": [STEP, STEP, {"predicate": {"condition": {"field": "no", "operator": "OPERATOR_EXISTS"}}}]},
        ["steps[2].predicate.condition.field"],
    ),
    ("QueryFunnel", FUNNEL | {"window": "0s"}, ["window"]),
    ("QueryFunnel", FUNNEL | {"window": "-1s"}, ["window"]),
    ("QueryFunnel", FUNNEL | {"window": "0.000999s"}, ["window"]),
    ("QueryFunnel", FUNNEL | {"window": f"{366 * 86400}.001s"}, ["window"]),
    ("QueryFunnel", FUNNEL | {"actor": 7}, ["actor"]),
    ("QueryFunnel", FUNNEL | {"allowsReentry": True}, ["allows_reentry"]),
    ("QueryFunnel", FUNNEL | {"dimension": "shoe_size"}, ["dimension"]),
    ("QueryFunnel", FUNNEL | {"slice": {"timeZone": "Mars/Olympus"}}, ["slice.time_zone"]),
    ("QueryFunnel", {"window": "0s", "dimension": "x"}, ["steps", "window", "dimension"]),
    ("QueryRetention", {"startPredicate": {}}, ["start_predicate"]),
    ("QueryRetention", {"returnPredicate": {"not": {}}}, ["return_predicate.not"]),
    ("QueryRetention", {"period": "GRANULARITY_HOUR"}, ["period"]),
    ("QueryRetention", {"periodCount": 367}, ["period_count"]),
    ("QueryRetention", {"kind": 9}, ["kind"]),
    ("QueryRetention", {"brackets": [1]}, ["brackets"]),
    ("QueryRetention", {"kind": BRACKET}, ["brackets"]),
    ("QueryRetention", {"kind": BRACKET, "brackets": [0]}, ["brackets[0]"]),
    ("QueryRetention", {"kind": BRACKET, "brackets": [1, 7, 7]}, ["brackets[2]"]),
    ("QueryRetention", {"kind": BRACKET, "brackets": [1, 367]}, ["brackets[1]"]),
    ("QueryRetention", {"kind": BRACKET, "brackets": [1], "periodCount": 3}, ["period_count"]),
    ("QueryRetention", {"metric": "clicks"}, ["metric"]),
    ("QueryRetention", {"slice": EVERY, "periodCount": 366}, ["period_count"]),
    ("ListJourneys", {"userId": "u", "clickId": "c"}, ["click_id"]),
    ("ListJourneys", {"pageSize": 501}, ["page_size"]),
    ("ListJourneys", {"pageToken": "made-up"}, ["page_token"]),
    ("QueryPaths", {"dimension": "shoe_size"}, ["dimension"]),
    ("QueryPaths", {"lookback": f"{366 * 86400}.001s"}, ["lookback"]),
    ("QueryPaths", {"limit": 10_001}, ["limit"]),
    ("QueryPaths", {"slice": {"currency": "gold"}}, ["slice.currency"]),
]


@pytest.mark.parametrize(("method", "question", "fields"), WRONG)
async def test_everything_that_is_wrong_is_named(
    service: Service, method: str, question: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(TrellisError) as error:
        await service.ask(method, question)
    assert error.value.reason == "INVALID_ARGUMENT"
    assert [violation.field for violation in error.value.violations] == fields
    assert not service.reader.statements


LARGEST: list[tuple[str, dict[str, Any]]] = [
    ("QueryFunnel", {"steps": [STEP] * 32, "window": f"{366 * 86400}s"}),
    ("QueryFunnel", {"steps": [STEP] * 32, "window": "0.001s", "isStrictOnce": True, "dimension": "header.x"}),
    ("QueryRetention", {"periodCount": 366, "period": "GRANULARITY_MONTH", "slice": EVERY}),
    ("QueryRetention", {"kind": BRACKET, "brackets": [1, 366], "metric": "revenue"}),
    ("ListJourneys", {"pageSize": 500}),
    ("QueryPaths", {"limit": 10_000, "lookback": f"{366 * 86400}s", "dimension": "param.zone"}),
]


@pytest.mark.parametrize(("method", "question"), LARGEST)
async def test_the_largest_question_is_asked_about_the_callers_organisation(
    service: Service, method: str, question: dict[str, Any]
) -> None:
    answer = await service.ask(method, question)
    assert service.reader.statements
    for statement in service.reader.statements:
        assert statement.parameters[ORGANIZATION] == "org_a"
        assert statement.sql.count("FROM events") == statement.sql.count("PREWHERE organization_id = {organization:")
    assert answer.info.sources == ["events"]


async def test_a_funnel_of_nobody_has_counts_and_no_percentages(service: Service) -> None:
    answer = await service.ask("QueryFunnel", {"steps": [STEP, {"name": "buy", "predicate": CLICK}]})
    (funnel,) = answer.funnels
    assert list(funnel.steps) == [pb.FunnelStepResult(name="step 1"), pb.FunnelStepResult(name="buy")]


async def test_until_now_is_the_same_question_for_a_minute(service: Service) -> None:
    answer = await service.ask("QueryFunnel", FUNNEL)
    end = answer.info.time_range.end_time.ToDatetime(UTC)
    assert (end.second, end.microsecond) == (0, 0)
    assert end > datetime.now(UTC).replace(second=0)


async def test_conditions_beyond_what_the_store_parses_are_a_limit(service: Service) -> None:
    many = {"anyOf": {"predicates": [CLICK] * 100}}
    with pytest.raises(TrellisError) as error:
        await service.ask("QueryFunnel", {"steps": [{"predicate": {"anyOf": {"predicates": [many] * 4}}}] * 32})
    assert error.value.reason == "QUERY_LIMIT"
    assert "fewer conditions" in error.value.message
