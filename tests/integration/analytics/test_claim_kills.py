"""A claim whose process is killed at each of its steps: the next one goes on, and no event is ever absent or twice."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from analytics_svc.store import rollups
from analytics_svc.store.connect import open_client
from analytics_svc.store.intents import open_intents
from svc_runtime.clickhouse import parse_dsn
from tests.contract.analytics.fake_capture import serving
from tests.contract.analytics.fake_raw import FakeRaw
from tests.integration.analytics.claim_site import caller
from tests.integration.analytics.test_process import free_port, running_process, wait_until_healthy
from tests.integration.analytics.test_rebuild_kills import followed
from trellis.analytics.v1 import analytics_service_pb2_grpc as analytics_grpc
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import overlay_service_pb2_grpc as overlay_grpc
from trellis.analytics.v1 import projection_service_pb2 as projection_pb
from trellis.analytics.v1 import projection_service_pb2_grpc as projection_grpc
from trellis.analytics.v1 import sql_pb2
from trellis.type.v1 import predicate_pb2

pytestmark = [pytest.mark.store, pytest.mark.loopback]
EVENT_COUNT = 400
CRASHING = "tests.integration.analytics.crashing_claims"
ORGANIZATION = "org_1"
CAMPAIGN = "cmp_claimed"
STEPS = {
    "before anything": ("INSERT INTO claim_assignments", 1),
    "between two months": ("INSERT INTO claim_assignments", 2),
    "when the version holds and nothing has moved": ("CREATE OR REPLACE TABLE moved_winners", 1),
    "before the events change": ("UPDATE events", 1),
    "between the events and what counts them": ("INSERT INTO rollup_minute", 1),
    "between two counts": ("INSERT INTO rollup_day", 1),
    "when the campaign that loses is counted anew": ("ALTER TABLE rollup_unique REPLACE", 1),
    "when everything has moved and it is not written down": ("DROP TABLE IF EXISTS moved_rows", 1),
}


def claim(version: int) -> pb.Claim:
    """Return a claim on the events with odd or with even numbers, in turn."""
    condition = predicate_pb2.Condition(
        field="param.n",
        operator=predicate_pb2.OPERATOR_MATCHES,
        values=["[02468]$" if version % 2 else "[13579]$"],
    )
    rule = pb.ClaimRule(rule_id=f"r{version}", predicate=predicate_pb2.Predicate(condition=condition))
    return pb.Claim(
        campaign_id=CAMPAIGN,
        version=version,
        rules=[rule],
        policy=pb.CLAIM_POLICY_BY_PRIORITY,
        yielding_campaign_ids=["cmp_1"],
    )


def check(directory: Path, version: int) -> None:
    """Check who has each event, and every count; no process has the directory."""
    client = open_client(parse_dsn(f"chdb://{directory}", default_database="analytics"))
    try:
        assert client.query("SELECT count(), uniqExact(event_id) FROM events").result_rows == [(EVENT_COUNT,) * 2]
        assert open_intents(client) == []
        assert rollups.differences(client) == []
        rows = client.query(
            "SELECT event_id, touch_event_id, params['n'], campaign_id, campaign_version, rule_id FROM events"
            " WHERE organization_id = {organization:String}",
            parameters={"organization": ORGANIZATION},
        ).result_rows
        numbers = {row[0]: row[2] for row in rows}
        for event_id, touch, _, *found in rows:
            number = numbers.get(touch, numbers[event_id])
            is_claimed = number != "" and int(number) % 2 == (version + 1) % 2
            assert found == ([CAMPAIGN, version, f"r{version}"] if is_claimed else ["cmp_1", 3, ""]), number
    finally:
        client.close()


@contextlib.asynccontextmanager
async def counting(port: int) -> AsyncIterator[list[tuple[int, int]]]:
    """Count the organisation's events all the time, as long as there is somebody who answers."""
    found: list[tuple[int, int]] = []

    async def ask() -> None:
        request = sql_pb2.RunSqlRequest(
            sql="SELECT count() AS n, uniqExact(event_id) AS u FROM events", format=sql_pb2.SQL_FORMAT_JSON_ROWS
        )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = analytics_grpc.AnalyticsServiceStub(channel)
            while True:
                call = stub.RunSql(request, metadata=caller(ORGANIZATION))
                try:
                    text = b"".join([message.rows async for message in call])
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        return  # it is killed
                    raise
                count, unique = json.loads(text)
                found.append((int(count), int(unique)))

    task = asyncio.create_task(ask())
    try:
        yield found
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def begin(port: int, version: int) -> str:
    """Apply a version; return the operation's id."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = overlay_grpc.OverlayServiceStub(channel)
        request = pb.ApplyClaimRequest(claim=claim(version))
        answer = await stub.ApplyClaim(request, metadata=caller(ORGANIZATION), timeout=30)
        return str(answer.operation.operation_id)


async def end(port: int, operation_id: str) -> projection_pb.Operation:
    """Wait until an operation is over; return it."""
    await wait_until_healthy(port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(90):
        stub: Any = projection_grpc.ProjectionServiceStub(channel)
        request = projection_pb.GetOperationRequest(operation_id=operation_id)
        while True:
            operation: projection_pb.Operation = (
                await stub.GetOperation(request, metadata=caller(ORGANIZATION))
            ).operation
            if operation.state != projection_pb.OPERATION_STATE_RUNNING:
                return operation
            await asyncio.sleep(0.05)


@pytest.mark.timeout(900)
async def test_kill_9_at_each_step_of_a_claim_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    fake, port = FakeRaw(), free_port()
    fake.put(EVENT_COUNT)
    async with serving(fake) as capture_port:
        environment = {
            "ANALYTICS_LISTEN": f"127.0.0.1:{port}",
            "ANALYTICS_CLICKHOUSE_DSN": f"chdb://{tmp_path}/reading",
            "ANALYTICS_CAPTURE_TARGET": f"127.0.0.1:{capture_port}",
        }
        async with running_process(**environment):
            await followed(port)
        for version, (name, (statement, number)) in enumerate(STEPS.items(), 1):
            crash = {"CRASH_AT": statement, "CRASH_NUMBER": str(number)}
            async with running_process(module=CRASHING, **environment, **crash) as process:
                await wait_until_healthy(port)
                async with counting(port) as seen:
                    operation_id = await begin(port, version)
                    assert await asyncio.wait_for(process.wait(), 120) == -9, name
            async with running_process(**environment) as process:
                await wait_until_healthy(port)
                async with counting(port) as seen_again:
                    operation = await end(port, operation_id)
                assert operation.state == projection_pb.OPERATION_STATE_SUCCEEDED, (name, operation.error)
                process.terminate()
                assert await process.wait() == 0
            counts = {*seen, *seen_again}
            assert len(counts) == 1, (name, counts)
            (found,) = counts
            assert found[0] == found[1] > 100
            check(tmp_path / "reading", version)
