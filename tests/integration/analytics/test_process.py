"""analytics_svc as the process that it is, killed again and again."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from analytics_svc.store.connect import open_client
from analytics_svc.store.intents import open_intents
from svc_runtime.clickhouse import parse_dsn
from tests.contract.analytics.fake_capture import SECRET, FakeCapture, serving
from tests.contract.analytics.test_follow import until
from tests.integration.analytics.rollup_check import assert_rollups_agree

pytestmark = pytest.mark.store
ROOT = Path(__file__).parents[3]
CRASHING = "tests.integration.analytics.crashing_analytics"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def running_process(
    cwd: Path | None = None, module: str = "analytics_svc", **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``python -m analytics_svc``, started in ``cwd``; kill -9 it at the end unless it is over."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)]),
            "TRELLIS_MESH_SECRET": SECRET,
            "TRELLIS_DRAIN_SECONDS": "5",
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def wait_until_healthy(port: int) -> None:
    """Ask until it serves."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def read_counts(directory: Path) -> tuple[int, int, bytes]:
    """Return count(), uniqExact(event_id) and the bookmark's cursor of a reading whose process is over."""
    client = open_client(parse_dsn(f"chdb://{directory}", default_database="analytics"))
    try:
        count, unique = client.query("SELECT count(), uniqExact(event_id) FROM events").result_rows[0]
        cursors = client.query("SELECT cursor FROM cursors ORDER BY generation DESC LIMIT 1").result_rows
        # A page whose intent is open may be counted in part; the next process counts it anew.
        if cursors and not open_intents(client):
            assert_rollups_agree(client)
    finally:
        client.close()
    return count, unique, bytes.fromhex(cursors[0][0]) if cursors else b""


@pytest.mark.timeout(300)
@pytest.mark.timeout(300)
async def test_kill_9_at_random_moments_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    fake = FakeCapture(seed=7, largest_page=20)
    port = free_port()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with serving(fake) as capture_port:
        environment = {
            "ANALYTICS_LISTEN": f"127.0.0.1:{port}",
            "ANALYTICS_CLICKHOUSE_DSN": f"chdb://{tmp_path}/reading",
            "ANALYTICS_CAPTURE_TARGET": f"127.0.0.1:{capture_port}",
            "ANALYTICS_WRITE_INTERVAL_SECONDS": "0",
            "ANALYTICS_PAGE_EVENT_COUNT": "20",
        }
        life = 0
        # At least six, and more until some went on in the middle: otherwise nothing was tried.
        while life < 6 or (life < 20 and _resumed_count(fake) < 3):
            fake.put(150)
            fake.put(150, journal_id="b" * 32)
            before = fake.given
            async with running_process(elsewhere, **environment) as process:
                await until(lambda: fake.given != before, seconds=30)  # noqa: B023 - waited for in this very turn
                await asyncio.sleep(chance.uniform(0.0, 0.3 * (life + 1)))
                assert process.returncode is None
                process.kill()
            life += 1
        fake.put(100)
        cursor = b""
        while cursor != fake.end():
            async with running_process(elsewhere, **environment) as process:
                await wait_until_healthy(port)
                await until(lambda: fake.given == fake.end(), seconds=60)
                await asyncio.sleep(1)
                started = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
                assert time.monotonic() - started < 15  # most of it is other work of the machine
            count, unique, cursor = read_counts(tmp_path / "reading")
            assert count == unique
    event_count = life * 300 + 100
    assert read_counts(tmp_path / "reading") == (event_count, event_count, fake.end())
    assert os.listdir(elsewhere) == []  # noqa: PTH208 - in an async function
    assert _resumed_count(fake) >= 3


@pytest.mark.timeout(600)
async def test_kill_9_at_each_change_on_disk_leaves_everything_to_be_put_in_order(tmp_path: Path) -> None:
    fake = FakeCapture(seed=5, largest_page=40)
    port = free_port()
    async with serving(fake) as capture_port:
        environment = {
            "ANALYTICS_LISTEN": f"127.0.0.1:{port}",
            "ANALYTICS_CLICKHOUSE_DSN": f"chdb://{tmp_path}/reading",
            "ANALYTICS_CAPTURE_TARGET": f"127.0.0.1:{capture_port}",
            "ANALYTICS_WRITE_INTERVAL_SECONDS": "0",
            "ANALYTICS_PAGE_EVENT_COUNT": "40",
        }
        for call in range(1, 11):
            fake.put(60)
            moment = "in" if call % 2 else "before"
            async with running_process(
                module=CRASHING, CRASH_CALL=str(call), CRASH_MOMENT=moment, **environment
            ) as process:
                assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
            count, unique, _ = read_counts(tmp_path / "reading")
            assert count == unique
        cursor = b""
        while cursor != fake.end():
            async with running_process(module=CRASHING, **environment) as process:
                await wait_until_healthy(port)
                await asyncio.sleep(2)
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
            _, _, cursor = read_counts(tmp_path / "reading")
    assert read_counts(tmp_path / "reading") == (600, 600, fake.end())
    client = open_client(parse_dsn(f"chdb://{tmp_path}/reading", default_database="analytics"))
    assert open_intents(client) == []
    assert_rollups_agree(client)
    client.close()


def _resumed_count(fake: FakeCapture) -> int:
    """Return from how many different places the feed was asked for."""
    return len({request.cursor for request in fake.subscriptions})


async def test_it_serves_health_and_reflection_while_capture_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    async with running_process(
        ANALYTICS_LISTEN=f"127.0.0.1:{port}",
        ANALYTICS_CLICKHOUSE_DSN=f"chdb://{tmp_path}/reading",
        ANALYTICS_CAPTURE_TARGET=f"127.0.0.1:{free_port()}",
    ) as process:
        await wait_until_healthy(port)
        services = await asyncio.to_thread(reflected_services, port)
        assert "grpc.health.v1.Health" in services
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_all_wrong_settings_are_named_at_once_without_the_password() -> None:
    async with running_process(
        ANALYTICS_CLICKHOUSE_DSN="clickhouse//u:geheim@host", ANALYTICS_WRITE_INTERVAL_SECONDS="-1"
    ) as process:
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"ANALYTICS_CLICKHOUSE_DSN" in errors
    assert b"ANALYTICS_WRITE_INTERVAL_SECONDS" in errors
    assert b"geheim" not in errors


def reflected_services(port: int) -> list[str]:
    """Return what gRPC reflection names."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return list(ProtoReflectionDescriptorDatabase(channel).get_services())
