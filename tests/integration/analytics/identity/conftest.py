"""A reading with edges in one embedded engine per module, and the RPCs that ask it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.cache import Results
from analytics_svc.identity.decisions import Decisions
from analytics_svc.identity.end import End, EndHasher, EndKind
from analytics_svc.identity.people import People
from analytics_svc.identity.resolve import Resolver
from analytics_svc.servicer.identity import IdentityServicer
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.connect import connect
from analytics_svc.store.edges import TABLE, keep_page
from analytics_svc.store.identity import ClickHouseDecisionStore
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from tests.integration.analytics.behavior.conftest import CREDENTIALS, MESH, BehaviorServicer, SetClock
from tests.integration.analytics.settling_cases import COLUMNS, plain, take_in
from tests.reading import ACME, reading
from trellis.analytics.v1 import analytics_service_pb2_grpc, identity_service_pb2_grpc

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

HASHER = EndHasher(b"k" * 32)
MOST_NEIGHBOURS = 4


def event(minutes: float, **values: Any) -> dict[str, Any]:
    """Return a page view, so many minutes after noon, with what is given; ``params`` as text."""
    at = datetime.fromtimestamp(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() + minutes * 60, UTC)
    return plain(**{"organization_id": ACME, "event_time": at, "params": {}, "order_id": "", **values})


def sale(minutes: float, value: str = "10", **values: Any) -> dict[str, Any]:
    """Return a conversion."""
    own = {"event_type": "purchase", "conversion_event": "purchase", "is_conversion": 1, "currency": "USD"}
    return event(minutes, **{**own, "value": value, **values})


def visitor(user_id: str) -> End:
    """Return a visitor as an end."""
    return End(EndKind.VISITOR, user_id)


def login(value: str, organization_id: str = ACME) -> End:
    """Return a login as an end."""
    return HASHER.end(organization_id, EndKind.LOGIN, value)


@dataclass
class Identity:
    """A reading, what asks it, and the RPCs."""

    client: "Client"
    people: People
    decisions: Decisions
    clock: SetClock
    stub: Any
    analytics: Any
    known: list[dict[str, Any]] = field(default_factory=list)

    def take_in(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a page."""
        take_in(self.client, rows, columns=(*COLUMNS, "params", "order_id"))
        keep_page(self.client, "staged", "settled", HASHER)
        self.known += rows

    @staticmethod
    def caller(organization_id: str = ACME, *scopes: str) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call for an organisation."""
        granted = frozenset(scopes or ("analytics:read", "analytics:write"))
        return CREDENTIALS.as_caller(Caller(CallerKind.ORGANIZATION, "key:1", organization_id, granted))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Dsn, Client]]":
    """Keep an empty reading open."""
    with reading(tmp_path_factory.mktemp("identity")) as found:
        yield found


@pytest.fixture
async def identity(opened: tuple[Dsn, "Client"]) -> AsyncIterator[Identity]:
    """Serve an empty reading for the time of a test."""
    dsn, client = opened
    for table in ("events", "click_keys", "reference_keys", TABLE, "identity_decisions", "identity_months"):
        client.command(f"TRUNCATE TABLE {table}")
    clock, clickhouse = SetClock(), connect(dsn)
    async with ClickHouseReadingReader.open(dsn, thread_count=1) as reader:
        people = People(reader, HASHER, most_neighbours=MOST_NEIGHBOURS)
        decisions = Decisions(people, ClickHouseDecisionStore(clickhouse), clock=clock)
        questions = BehaviorQuestions(reader, Results(MemoryResultCache()), clock=clock, people=people)
        behavior = BehaviorServicer(questions, clock, PageTokens("m" * 32, "analytics_svc"))
        server = GrpcServer(MESH, service_names=[])
        servicer = IdentityServicer(people, decisions, Resolver(reader, people))
        server.add(lambda s: identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(servicer, s))
        server.add(lambda s: analytics_service_pb2_grpc.add_AnalyticsServiceServicer_to_server(behavior, s))
        port = await server.start("127.0.0.1:0")
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = identity_service_pb2_grpc.IdentityServiceStub(channel)
                analytics = analytics_service_pb2_grpc.AnalyticsServiceStub(channel)
                yield Identity(client, people, decisions, clock, stub, analytics)
        finally:
            await server.stop()
            await clickhouse.close()
