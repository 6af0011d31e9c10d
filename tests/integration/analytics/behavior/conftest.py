"""A reading in one embedded engine per module, and the RPCs that ask it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from pydantic import SecretStr

from analytics_svc.behavior.questions import BehaviorQuestions
from analytics_svc.cache import Results
from analytics_svc.servicer.behavior import BehaviorMethods
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn
from svc_runtime.clock import Clock
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from svc_runtime.settings import MeshSettings
from tests.reading import ACME, reading
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=0)
CREDENTIALS = Credentials(MESH, "test")


class SetClock:
    """Stands still."""

    def __init__(self) -> None:
        self.time = datetime(2026, 12, 1, tzinfo=UTC)
        self.watermark_time: datetime | None = None

    def now(self) -> datetime:
        """Return what was set."""
        return self.time


class BehaviorServicer(BehaviorMethods, pb_grpc.AnalyticsServiceServicer):  # type: ignore[misc]  # the rest is others'
    """The RPCs of behaviour alone."""

    def __init__(self, behavior: BehaviorQuestions, clock: Clock, page_tokens: PageTokens) -> None:
        self.behavior = behavior
        self.clock = clock
        self.page_tokens = page_tokens


@dataclass
class Asked:
    """A running service, and what stands behind it."""

    stub: "pb_grpc.AnalyticsServiceAsyncStub"
    questions: BehaviorQuestions
    clock: SetClock

    @staticmethod
    def caller(organization_id: str = ACME) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call for an organisation."""
        caller = Caller(CallerKind.ORGANIZATION, "key:1", organization_id, frozenset({"analytics:read"}))
        return CREDENTIALS.as_caller(caller)


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
async def asked(opened: tuple[Dsn, "Client"]) -> AsyncIterator[Asked]:
    """Serve the reading for the time of a test."""
    clock = SetClock()
    async with ClickHouseReadingReader.open(opened[0], thread_count=1) as reader:
        results = Results(MemoryResultCache())
        questions = BehaviorQuestions(reader, results, clock=clock, watermark_time=lambda: clock.watermark_time)
        server = GrpcServer(MESH, service_names=[])
        servicer = BehaviorServicer(questions, clock, PageTokens("m" * 32, "analytics_svc"))
        server.add(lambda s: pb_grpc.add_AnalyticsServiceServicer_to_server(servicer, s))
        port = await server.start("127.0.0.1:0")
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Asked(pb_grpc.AnalyticsServiceStub(channel), questions, clock)
        finally:
            await server.stop()


def at(milliseconds: int) -> datetime:
    """Return an instant by its milliseconds after a Monday's noon."""
    return datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
