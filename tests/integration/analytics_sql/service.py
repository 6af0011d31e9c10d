"""analytics_svc's SQL as it is served: a reading in the engine, the runner, a gRPC server, and a gateway before it."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import orjson

from analytics_svc.admission import Admission, Capacity, Weight
from analytics_svc.run_sql import SqlRequest, SqlRunner
from analytics_svc.servicer.sql import SqlMethods
from analytics_svc.sql_answer import AnswerColumn, SqlFormat, Totals
from analytics_svc.sql_guard import QueryLimits, tenant_schema
from analytics_svc.sql_guard.guard import DEFAULT_QUERY_LIMITS
from analytics_svc.store.sql import ClickHouseStatements
from svc_runtime.clickhouse import Dsn
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from tests.contract.gateway_api.mesh import MESH
from tests.reading import ACME
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import sql_pb2 as pb

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

WATERMARK = datetime(2026, 11, 3, 12, tzinfo=UTC)
MIB = 1024**2


class SqlServicer(SqlMethods, pb_grpc.AnalyticsServiceServicer):
    """The RPCs of SQL alone."""

    def __init__(self, sql: SqlRunner) -> None:
        self.sql = sql


@dataclass
class Answered:
    """An answer, taken whole."""

    columns: tuple[AnswerColumn, ...]
    totals: Totals
    body: bytes

    @property
    def rows(self) -> list[list[Any]]:
        """Its rows, where it is JSON."""
        return [orjson.loads(line) for line in self.body.splitlines()]


@dataclass
class Service:
    """What the tests use."""

    dsn: Dsn
    client: "Client"
    runner: SqlRunner
    admission: Admission
    channel: grpc.aio.Channel
    target: str

    async def ask(
        self,
        sql: str,
        parameters: Any = (),
        *,
        answer_format: SqlFormat = SqlFormat.JSON_ROWS,
        organization_id: str = ACME,
    ) -> Answered:
        """Run a statement in this process."""
        request = SqlRequest(organization_id, "key:test", sql, parameters, answer_format)
        async with self.runner.run(request) as answer:
            body = b"".join([piece async for piece in answer.pieces])
            return Answered(answer.columns, answer.totals, body)

    def call(self, request: pb.RunSqlRequest, *, organization_id: str = ACME) -> Any:
        """Run a statement by RPC."""
        stub = pb_grpc.AnalyticsServiceStub(self.channel)
        return stub.RunSql(request, metadata=as_caller(organization_id))


def as_caller(organization_id: str = ACME) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call for an organisation."""
    caller = Caller(CallerKind.ORGANIZATION, "key:test", organization_id, frozenset({"analytics:read"}))
    return Credentials(MESH, "test").as_caller(caller)


@contextlib.asynccontextmanager
async def serving(
    dsn: Dsn,
    client: "Client",
    *,
    memory_bytes: int = 1024 * MIB,
    limits: QueryLimits = DEFAULT_QUERY_LIMITS,
    slots: int = 4,
    per_organization: int = 2,
    answer_seconds: float = 120,
) -> AsyncIterator[Service]:
    """Serve SQL over the database of ``dsn``; ``memory_bytes`` is for all queries together."""
    share = memory_bytes // slots
    admission = Admission(Capacity(slots, memory_bytes, 1, share), longest_wait_seconds=10)
    weight = Weight("sql", share, running_per_organization=per_organization, waiting_per_organization=8)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(ClickHouseStatements.open(dsn, thread_count=slots))
        runner = SqlRunner(
            store,
            admission,
            schema=tenant_schema(dsn.database),
            limits=limits,
            weight=weight,
            watermark=lambda: WATERMARK,
            answer_seconds=answer_seconds,
        )
        server = GrpcServer(MESH, service_names=[])
        server.add(lambda s: pb_grpc.add_AnalyticsServiceServicer_to_server(SqlServicer(runner), s))
        port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop)
        target = f"127.0.0.1:{port}"
        channel = await stack.enter_async_context(open_channel(MESH, target))
        yield Service(dsn, client, runner, admission, channel, target)


@contextlib.contextmanager
def temporary_files(directory: Path) -> Any:
    """Let answers wait in ``directory``."""
    before, tempfile.tempdir = tempfile.tempdir, str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before
