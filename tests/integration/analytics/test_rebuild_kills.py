"""A rebuild whose process is killed at each of its steps: the next process goes on, and the reading is the same."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from analytics_svc.store.connect import open_client
from analytics_svc.store.intents import open_intents
from svc_runtime.clickhouse import parse_dsn
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller, CallerKind
from tests.contract.analytics.fake_capture import MESH, serving
from tests.contract.analytics.fake_raw import FakeRaw
from tests.integration.analytics.rollup_check import assert_rollups_agree, totals
from tests.integration.analytics.test_process import free_port, running_process, wait_until_healthy
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2_grpc as pb_grpc

pytestmark = [pytest.mark.store, pytest.mark.loopback]
EVENT_COUNT = 400
CRASHING = "tests.integration.analytics.crashing_rebuild"
OPERATOR = Credentials(MESH, "test").as_caller(Caller(CallerKind.OPERATOR, "operator"))
STEPS = {
    "while events are derived": ("INSERT INTO made_0_own", 1),
    "while the second month is counted": ("INSERT INTO made_0_rollup_day", 2),
    "before anything is switched": ("ALTER TABLE events REPLACE", 1),
    "between the events and what counts them": ("ALTER TABLE rollup_minute REPLACE", 1),
    "between two counts of the second month": ("ALTER TABLE rollup_unique REPLACE", 2),
    "when a month is made and not yet written down": ("DROP TABLE IF EXISTS made_0_staged", 1),
}


def read(directory: Path) -> Mapping[str, Any]:
    """Return what tells one reading from another; its process is over. Check what must hold in each."""
    client = open_client(parse_dsn(f"chdb://{directory}", default_database="analytics"))
    try:
        assert client.query("SELECT count(), uniqExact(event_id) FROM events").result_rows == [(EVENT_COUNT,) * 2]
        assert open_intents(client) == []
        assert_rollups_agree(client)
        rows = client.query(
            "SELECT event_id, sipHash64(toString(tuple(*, user_key))) FROM events ORDER BY event_id"
        ).result_rows
        names = ("rollup_minute", "rollup_day", "rollup_unique")
        return {"events": list(rows), **{name: totals(client, name) for name in names}}
    finally:
        client.close()


async def followed(port: int) -> None:
    """Wait until the reading has every event."""
    await wait_until_healthy(port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(90):
        stub: Any = pb_grpc.ProjectionServiceStub(channel)
        request = pb.GetProjectionRequest()
        while (await stub.GetProjection(request, metadata=OPERATOR)).event_count < EVENT_COUNT:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.1)  # the other process does not tell


async def begin(port: int) -> str:
    """Begin a rebuild; return its id."""
    await wait_until_healthy(port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = pb_grpc.ProjectionServiceStub(channel)
        answer = await stub.StartRebuild(pb.StartRebuildRequest(), metadata=OPERATOR, timeout=30)
        return str(answer.operation.operation_id)


async def end(port: int, operation_id: str) -> pb.Operation:
    """Watch a rebuild to its end."""
    await wait_until_healthy(port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = pb_grpc.ProjectionServiceStub(channel)
        request = pb.WatchRebuildRequest(operation_id=operation_id)
        heard = [message.operation async for message in stub.WatchRebuild(request, metadata=OPERATOR)]
        operation: pb.Operation = heard[-1]
        return operation


@pytest.mark.timeout(600)
async def test_kill_9_at_each_step_of_a_rebuild_changes_nothing(tmp_path: Path) -> None:
    fake, port = FakeRaw(), free_port()
    fake.put(EVENT_COUNT)
    async with serving(fake) as capture_port:
        environment = {
            "ANALYTICS_LISTEN": f"127.0.0.1:{port}",
            "ANALYTICS_CLICKHOUSE_DSN": f"chdb://{tmp_path}/reading",
            "ANALYTICS_CAPTURE_TARGET": f"127.0.0.1:{capture_port}",
            "ANALYTICS_REBUILD_PARALLEL": "1",
        }
        async with running_process(**environment) as process:
            await followed(port)
            process.terminate()
            assert await process.wait() == 0
        before = read(tmp_path / "reading")
        operation_id = ""
        for name, (statement, number) in STEPS.items():
            crash = {"CRASH_AT": statement, "CRASH_NUMBER": str(number)}
            async with running_process(module=CRASHING, **environment, **crash) as process:
                # The rebuild that the last one left is over before this one begins: it dies in either.
                if not operation_id:
                    operation_id = await begin(port)
                assert await asyncio.wait_for(process.wait(), 120) == -9, name
            async with running_process(**environment) as process:
                operation = await end(port, operation_id)
                assert operation.state == pb.OPERATION_STATE_SUCCEEDED, (name, operation.error)
                assert list(operation.done_months) == ["2025-12", "2026-01"]
                assert operation.done_event_count == EVENT_COUNT
                operation_id = ""
                process.terminate()
                assert await process.wait() == 0
            assert read(tmp_path / "reading") == before, name
