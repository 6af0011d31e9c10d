"""The way to a server: the same statements over HTTP, in the role of the organisation."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from analytics_svc.admission import Admission, Capacity, Weight
from analytics_svc.run_sql import SqlRequest, SqlRunner
from analytics_svc.sql_answer import SqlFormat
from analytics_svc.sql_guard import QueryLimits, SqlRefusedError, tenant_schema
from analytics_svc.store.sql import ClickHouseStatements
from svc_runtime.clickhouse import parse_dsn
from svc_runtime.errors import QueryLimitError, UnavailableError
from tests.clickhouse_http import ClickHouseFront, running_clickhouse_front
from tests.reading import ACME, OTHER, insert_events, reading

pytestmark = [pytest.mark.loopback, pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory, spool: Path) -> AsyncIterator[ClickHouseFront]:
    """A server with three events."""
    directory = tmp_path_factory.mktemp("server")
    with running_clickhouse_front(directory) as running, reading(directory) as (_, client):
        insert_events(client, [{"source": "a"}, {"source": "b,\n"}, {"source": "theirs", "organization_id": OTHER}])
        yield running


@contextlib.asynccontextmanager
async def _runner(front: ClickHouseFront, *, has_roles: bool = True, rows: int = 1000) -> AsyncIterator[SqlRunner]:
    dsn = parse_dsn(f"{front.dsn}/analytics", default_database="analytics")
    async with ClickHouseStatements.open(dsn, thread_count=2, has_roles=has_roles) as store:
        yield SqlRunner(
            store,
            Admission(Capacity(2, 2**31)),
            schema=tenant_schema(),
            limits=QueryLimits(result_rows=rows),
            weight=Weight("sql", 2**30, 2, 8),
            watermark=lambda: None,
        )


async def _ask(runner: SqlRunner, sql: str, answer_format: SqlFormat = SqlFormat.JSON_ROWS) -> bytes:
    async with runner.run(SqlRequest(ACME, "key:test", sql, (), answer_format)) as answer:
        return b"".join([piece async for piece in answer.pieces])


@pytest.mark.parametrize(
    ("answer_format", "expected"),
    [(SqlFormat.JSON_ROWS, b'["a"]\n["b,\\n"]\n'), (SqlFormat.CSV, b'"source"\r\n"a"\r\n"b,\n"\r\n')],
)
async def test_a_server_answers_alike(front: ClickHouseFront, answer_format: SqlFormat, expected: bytes) -> None:
    async with _runner(front) as runner:
        assert await _ask(runner, "SELECT source FROM events ORDER BY source", answer_format) == expected
        tables = await runner.tables(organization_id=ACME)
        assert front.urls[-1]["role"] == f"trellis_tenant_{ACME}"
        assert [table.name for table in tables] == ["events", "campaign_performance_daily", "traffic_projections"]


async def test_a_statement_runs_in_the_role_of_its_organisation(front: ClickHouseFront) -> None:
    async with _runner(front) as runner:
        await _ask(runner, "SELECT count() FROM events")
        assert front.urls[-1]["role"] == f"trellis_tenant_{ACME}"
        assert front.urls[-1]["quota_key"] == ACME
        assert front.urls[-1]["query_id"] == front.urls[-1]["log_comment"]
        assert front.urls[-1]["readonly"] == "2"
    async with _runner(front, has_roles=False) as runner:
        await _ask(runner, "SELECT count() FROM events")
        assert "role" not in front.urls[-1]


async def test_a_servers_errors_are_told_by_their_code(front: ClickHouseFront) -> None:
    async with _runner(front, rows=1) as runner:
        with pytest.raises(SqlRefusedError, match=r"CANNOT_PARSE_TEXT \(6\)"):
            await _ask(runner, "SELECT toUInt64(source) FROM events")
        with pytest.raises(QueryLimitError):
            await _ask(runner, "SELECT source FROM events")
        assert await _ask(runner, "SELECT 42") == b"[42]\n"


async def test_a_server_that_is_away_is_told_so_and_comes_back(front: ClickHouseFront) -> None:
    async with _runner(front) as runner:
        await _ask(runner, "SELECT 42")
        front.is_down = True
        with pytest.raises(UnavailableError):
            await _ask(runner, "SELECT 42")
        front.is_down = False
        assert await _ask(runner, "SELECT 42") == b"[42]\n"
