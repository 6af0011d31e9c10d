"""Queries that nobody waits for any more, queries that are too many, and what is written down of each."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from analytics_svc.run_sql import SqlRequest
from analytics_svc.sql_answer import SqlFormat
from analytics_svc.sql_guard import SqlRefusedError
from analytics_svc.statement import Statement
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.errors import DeadlineExceededError, RateLimitedError
from tests.contract.gateway_api.fakes import SECRET_KEY
from tests.contract.gateway_api.mesh import Mesh, running_mesh
from tests.integration.analytics_sql.service import Service, as_caller, serving
from tests.reading import ACME, OTHER, insert_events
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import sql_pb2 as pb

pytestmark = [pytest.mark.loopback, pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]

HEAVY = "SELECT count() FROM events a, events b WHERE a.click_id < b.click_id AND length(a.url) = length(b.url)"
"""Ten billion pairs: minutes of work."""
ROWS = "SELECT click_id FROM events"


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    """A hundred thousand events, and one of another organisation."""
    insert_events(service.client, [{"organization_id": OTHER, "click_id": "theirs"}])
    service.client.command(
        "INSERT INTO events (organization_id, event_id, event_time, event_type, source, click_id)"
        f" SELECT '{ACME}', generateUUIDv7(), now64(3), 'click', 'many', toString(number) FROM numbers(99000)"
    )
    return service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(filled: Service, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """A gateway before it."""
    async with running_mesh(tmp_path_factory.mktemp("gateway"), analytics_target=filled.target) as running:
        yield running


async def _running_count(service: Service) -> int:
    """Return how many queries of tenants the engine works on."""
    return int(
        (
            await asyncio.to_thread(
                service.client.query, "SELECT count() FROM system.processes WHERE Settings['log_comment'] != ''"
            )
        ).result_rows[0][0]
    )


async def _until_running(service: Service, count: int, *, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while await _running_count(service) != count:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.02)


async def _is_idle(service: Service) -> None:
    """Fail unless the query is over within two seconds, gave its place back, and no processor works on."""
    await _until_running(service, 0, seconds=2)
    async with asyncio.timeout(1):
        while service.admission.running():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - before < 0.25
    assert service.admission.memory_bytes == 0


@pytest.mark.parametrize("answer_format", [SqlFormat.JSON_ROWS, SqlFormat.PARQUET])
async def test_a_cancelled_query_uses_no_processor_any_more(
    filled: Service, spool: Path, answer_format: SqlFormat
) -> None:
    task = asyncio.ensure_future(filled.ask(HEAVY, answer_format=answer_format))
    await _until_running(filled, 1)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2
    await _is_idle(filled)
    assert not os.listdir(spool)  # noqa: PTH208 - a short listing
    assert (await filled.ask("SELECT 42 AS n")).rows == [[42]]


async def test_a_query_that_is_cancelled_before_it_begins_is_ended_too(filled: Service) -> None:
    for steps in range(12):
        task = asyncio.ensure_future(filled.ask(HEAVY))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(3):
                await task
    await _is_idle(filled)


async def test_a_client_of_the_rpc_that_leaves_ends_its_query(filled: Service) -> None:
    call = filled.call(pb.RunSqlRequest(sql=HEAVY, format=pb.SQL_FORMAT_CSV))
    reading = asyncio.ensure_future(call.read())
    await _until_running(filled, 1)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await reading
    await _is_idle(filled)


async def test_a_deadline_of_the_caller_ends_the_query(filled: Service) -> None:
    stub = pb_grpc.AnalyticsServiceStub(filled.channel)
    call = stub.RunSql(pb.RunSqlRequest(sql=HEAVY, format=pb.SQL_FORMAT_CSV), metadata=as_caller(), timeout=1)
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await call.read()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await _is_idle(filled)


async def test_a_browser_that_leaves_ends_its_query(filled: Service, mesh: Mesh) -> None:
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    call = mesh.session.post(f"{mesh.url}/api/v1/query", json={"sql": HEAVY}, headers=headers)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), call:
            pass
    await _is_idle(filled)


async def test_an_answer_that_is_left_half_way_leaves_nothing(filled: Service, spool: Path) -> None:
    call = filled.call(pb.RunSqlRequest(sql=ROWS, format=pb.SQL_FORMAT_CSV))
    await call.read()
    await call.read()
    call.cancel()
    await _is_idle(filled)
    assert not os.listdir(spool)  # noqa: PTH208 - a short listing


async def test_a_reader_that_takes_its_time_holds_no_place_and_is_not_waited_for_for_ever(filled: Service) -> None:
    async with serving(filled.dsn, filled.client, answer_seconds=0.5) as service:
        request = SqlRequest(ACME, "key:slow", ROWS, (), SqlFormat.JSON_ROWS)

        async def take() -> None:
            async with service.runner.run(request) as answer:
                await anext(answer.pieces)
                assert service.admission.running() == {}
                await asyncio.sleep(5)

        with pytest.raises(DeadlineExceededError, match=r"not taken within 0\.5 s"):
            await take()


async def test_a_cancelled_report_ends_its_query(filled: Service) -> None:
    async with ClickHouseReadingReader.open(filled.dsn, thread_count=1) as reader:
        sql = "SELECT count() FROM events a, events b WHERE a.click_id < b.click_id AND length(a.url) = length(b.url)"
        task = asyncio.ensure_future(reader.rows(Statement(sql)))
        await _until_running(filled, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _is_idle(filled)
        assert (await reader.rows(Statement("SELECT 42"))).rows == [(42,)]


async def test_an_organisation_that_asks_for_too_much_waits_behind_itself(filled: Service) -> None:
    async with serving(filled.dsn, filled.client, per_organization=2) as service:
        heavy = [asyncio.ensure_future(service.ask(HEAVY)) for _ in range(10)]
        await _until_running(service, 2)
        with pytest.raises(RateLimitedError):
            await service.ask("SELECT 1 AS n")
        assert (await service.ask("SELECT click_id FROM events", organization_id=OTHER)).rows == [["theirs"]]
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)
        await _is_idle(service)


def _audited(logs: list[Any]) -> dict[str, Any]:
    (entry,) = [entry for entry in logs if entry["event"] == "sql"]
    return dict(entry)


async def test_every_statement_is_written_down_without_its_text(filled: Service) -> None:
    marker = "literal-4711"
    with capture_logs() as logs:
        await filled.ask(f"SELECT count() FROM events WHERE source != '{marker}'", organization_id=OTHER)
    entry = _audited(logs)
    assert entry["organization_id"] == OTHER
    assert entry["actor"] == "key:test"
    assert (entry["outcome"], entry["tables"], entry["answer_format"]) == ("answered", ["events"], "json")
    assert entry["query_id"]
    assert entry["rows_read"] >= 1
    assert entry["row_count"] == 1
    assert 0 < entry["elapsed_seconds"] < 60
    assert marker not in str(logs)


@pytest.mark.parametrize(
    ("sql", "outcome", "reason"),
    [
        ("DROP TABLE events", "refused", "SQL_REFUSED"),
        ("SELECT toUInt64('literal-4711') FROM events", "refused", "SQL_REFUSED"),
    ],
)
async def test_a_refusal_is_written_down_too(filled: Service, sql: str, outcome: str, reason: str) -> None:
    with capture_logs() as logs, pytest.raises(SqlRefusedError):
        await filled.ask(sql)
    entry = _audited(logs)
    assert (entry["outcome"], entry["reason"]) == (outcome, reason)
    assert "literal-4711" not in str(logs)


async def test_an_abandoned_query_is_written_down_as_that(filled: Service) -> None:
    with capture_logs() as logs:
        task = asyncio.ensure_future(filled.ask(HEAVY))
        await _until_running(filled, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert _audited(logs)["outcome"] == "abandoned"
